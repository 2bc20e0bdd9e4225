"use strict";
(() => {
  const body = document.body, told = document.getElementById("live"), announced = document.getElementById("announced");
  if (!body.dataset.events || !window.EventSource) return;
  let shown = body.dataset.at, isBusy = false, isDue = false, again = 0;
  const say = (text, name) => {
    told.textContent = text;
    body.classList.toggle("is-live", name === "is-live");
    body.classList.toggle("is-lost", name === "is-lost");
  };
  const live = () => {
    if (body.classList.contains("is-lost")) announced.textContent = "Live again";
    say(`Live, as of ${shown}`, "is-live");
  };
  const lost = (why) => {
    const text = `${why}: this is how it was at ${shown}`;
    if (told.textContent !== text) { say(text, "is-lost"); announced.textContent = text; }
  };
  const headline = (page) => (page.querySelector("h1") || page).textContent.trim();
  const swap = (page) => {
    const before = document.querySelector("main"), after = page.querySelector("main");
    if (!before || !after) return;
    const focused = document.activeElement && before.contains(document.activeElement) ? document.activeElement.id : "";
    for (const each of before.querySelectorAll("details[id]")) {
      const same = after.querySelector(`#${CSS.escape(each.id)}`);
      if (same) same.open = each.open;
    }
    const moved = [...before.querySelectorAll(".wide[id]")].map((each) => [each.id, each.scrollLeft]);
    const [x, y, said] = [window.scrollX, window.scrollY, headline(before)];
    before.replaceWith(document.adoptNode(after));
    for (const [id, left] of moved) { const same = document.getElementById(id); if (same) same.scrollLeft = left; }
    if (focused) { const same = document.getElementById(focused); if (same) same.focus({ preventScroll: true }); }
    window.scrollTo(x, y);
    document.title = page.title;
    const icon = document.querySelector("link[rel=icon]"), fresh = page.querySelector("link[rel=icon]");
    if (icon && fresh && icon.href !== fresh.href) icon.replaceWith(document.adoptNode(fresh));
    if (headline(after) !== said) announced.textContent = headline(after);
    shown = page.body.dataset.at || shown;
  };
  const isMarking = () => { const marked = window.getSelection(); return marked && !marked.isCollapsed; };
  const refresh = async () => {
    isDue = true;
    if (isBusy || document.hidden) return;
    if (isMarking()) { setTimeout(refresh, 2000); return; }
    isBusy = true;
    isDue = false;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (!answer.ok) throw new Error(`The service answers with ${answer.status}`);
      swap(new DOMParser().parseFromString(await answer.text(), "text/html"));
      live();
    } catch (error) {
      lost(error instanceof TypeError ? "Not connected" : error.message);
      again = again || setTimeout(() => { again = 0; refresh(); }, 5000);
    }
    isBusy = false;
    if (isDue) setTimeout(refresh, 1000);
  };
  const listen = () => {
    const events = new EventSource(body.dataset.events);
    events.onopen = refresh;
    events.addEventListener("status", refresh);
    events.onerror = () => {
      if (events.readyState !== EventSource.CLOSED) { lost("Not connected"); return; }
      refresh();
      setTimeout(listen, 30000);
    };
  };
  document.addEventListener("visibilitychange", () => { if (isDue) refresh(); });
  setInterval(() => { if (body.classList.contains("is-live")) refresh(); }, 30000);
  listen();
})();
