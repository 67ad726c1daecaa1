// Requests say when nobody sits before the page: a tab that was left open must not keep a rented machine.
const PRESENT_MS = 2 * 60 * 1000;
let actedAt = Date.now();
for (const kind of ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"])
  addEventListener(kind, () => { actedAt = Date.now(); }, { passive: true, capture: true });
function attended() {
  const here = !document.hidden && Date.now() - actedAt < PRESENT_MS;
  return here ? {} : { "X-Kinokit-Unattended": "1" };
}

// Minutes before the idle stop: when it comes, and a click that puts it off for an hour.
function showIdleStop(boot, stayPath) {
  const shown = document.getElementById("idle-stop");
  if (!known(boot.idle_stop_at)) return shown?.remove();
  const bar = shown ?? idleBar(stayPath);
  const time = new Date(boot.idle_stop_at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  write(bar.firstChild, `Nobody uses this machine. It stops at ${time}; clips that are not downloaded may be lost.`);
}
function idleBar(stayPath) {
  const bar = make("div"), button = make("button", "", "Keep it for an hour");
  bar.id = "idle-stop";
  bar.setAttribute("role", "alert");
  button.type = "button";
  button.onclick = async () => {
    const answer = await fetch(stayPath, { method: "POST" }).catch(() => null);
    if (answer?.ok) bar.remove();
    else write(button, "It did not answer: try again");
  };
  bar.append(make("span"), button);
  document.body.append(bar);
  return bar;
}
