// Loads the page again and again while there is news to come, and takes over what has changed.
(function () {
  "use strict";
  var main = document.getElementById("status"), said = document.getElementById("said");
  var wait = main.dataset.wait * 1000, quarter = 0;

  function later() {
    if (main.dataset.wait) setTimeout(document.hidden ? whenSeen : ask, wait);
  }
  function whenSeen() {
    if (document.hidden) document.addEventListener("visibilitychange", whenSeen, { once: true });
    else ask();
  }
  function ask() {
    fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" }).then(function (answer) {
      if (answer.status >= 400 && answer.status < 500 || answer.redirected) return location.reload();
      if (!answer.ok) throw answer;
      return answer.text().then(show);
    }).catch(function () { wait = Math.min(wait * 2, 60000); later(); });
  }
  function show(text) {
    var page = new DOMParser().parseFromString(text, "text/html"), next = page.getElementById("status");
    document.title = page.title;
    if (next.dataset.phase === main.dataset.phase) update(next); else replace(next);
    wait = Math.min((wait || 1000) * 1.1, 5000);
    later();
  }
  // The same phase: only the bar and its text, so that nobody loses the focus.
  function update(next) {
    var bar = document.getElementById("bar"), news = next.querySelector("#bar"), text = next.querySelector("#progress").textContent;
    document.getElementById("progress").textContent = text;
    if (news.hasAttribute("value")) bar.value = news.value; else bar.removeAttribute("value");
    var reached = Math.floor(news.value / 25);
    if (reached > quarter) { quarter = reached; said.textContent = text; }
  }
  function replace(next) {
    var hadFocus = main.contains(document.activeElement);
    main.dataset.phase = next.dataset.phase;
    if (next.dataset.wait) main.dataset.wait = next.dataset.wait; else delete main.dataset.wait;
    main.replaceChildren.apply(main, Array.from(next.childNodes));
    wait = (next.dataset.wait || 0) * 1000;
    said.textContent = document.getElementById("heading").textContent;
    if (hadFocus) document.getElementById("heading").focus();
  }
  later();
})();
