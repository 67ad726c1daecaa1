// The screen: one clip, large, with what can be done with it; or what to do first.
const part = (name) => element.querySelector(`[data-part="${name}"]`);
let shownKey = "";

// Rebuilt only when the clip or its status changes; while it runs, only numbers move.
function showOnScreen(video) {
  const key = video ? `${video.id} ${video.status}` : "empty";
  if (key !== shownKey) {
    shownKey = key;
    const [look, [screen, below], spoken] = screenFor(video);
    part("screen").replaceChildren(...screen);
    part("below").replaceChildren(...below);
    part("screen").className = `k-screen ${look}`;
    write(part("spoken"), spoken);
  }
  if (video?.active) progressOn(video);
}
// The class of the screen, its nodes, and what a screen reader speaks.
function screenFor(video) {
  if (!video) return ["k-empty", emptyScreen(), ""];
  if (video.status === "queued") return ["k-busy", busyScreen(video), "Waiting in the queue"];
  if (video.active) return ["k-busy", busyScreen(video), "The clip is being made"];
  if (video.status === "completed") return ["k-playing", playingScreen(video), "The clip is ready"];
  return ["k-failed", failedScreen(video), video.cancelled ? "Cancelled" : "Failed"];
}
function scrollToScreen() {
  element.scrollIntoView({ block: "start", behavior: still() ? "auto" : "smooth" });
}

function emptyScreen() {
  const box = make("div", "k-center");
  const byPhoto = {
    none: "Write what to show", optional: "Write a prompt, add a photo if you like,",
    needed: "Add a photo, write a prompt",
  };
  const text = plan.prompt ? byPhoto[plan.photo] : "Add a photo";
  box.innerHTML = MARK;
  box.append(make("p", "k-big", "Your clip plays here"));
  box.append(make("p", "k-soft", `${text} and press “Make the clip”.`));
  return [[box], []];
}

function busyScreen(video) {
  const box = make("div", "k-center k-work");
  const bar = make("div", "k-bar");
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-label", "Progress of the clip");
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", "100");
  bar.append(make("i"));
  const stop = button("Cancel", "k-quiet", async () => {
    stop.disabled = true;
    write(stop, "Cancelling…");
    await attempt(() => cancel(video.id));
  });
  stop.dataset.action = "cancel";
  box.append(make("p", "k-big"), bar, make("p", "k-soft k-numbers"), stop);
  const shown = [box];
  if (video.hasPhoto) {
    const photo = make("img", "k-backdrop");
    photo.src = contentAt(video.id, "input");
    photo.alt = "";
    photo.onerror = () => photo.remove();
    shown.unshift(photo);
  }
  return [shown, [about(video)]];
}
function progressOn(video) {
  const box = part("screen").querySelector(".k-work");
  const bar = box.querySelector(".k-bar");
  const waits = video.status === "queued";
  const stage = waits ? "Waiting for its turn" : STAGES[video.stage] ?? video.stage ?? "Starting";
  write(box.querySelector(".k-big"), video.cancelling ? "Cancelling" : stage);
  const place = video.place === 1 ? "Next in line" : `Number ${video.place} in line`;
  const number = !waits ? `${Math.round(video.part * 100)} %` : video.place == null ? "" : place;
  write(box.querySelector(".k-numbers"), [number, left(video.eta)].filter(Boolean).join(" · "));
  bar.classList.toggle("k-unknown", waits || video.part === 0);
  bar.style.setProperty("--done", video.part);
  bar.setAttribute("aria-valuenow", Math.round(video.part * 100));
}

function playingScreen(video) {
  const clip = make("video");
  clip.src = contentAt(video.id);
  Object.assign(clip, { controls: true, loop: true, muted: true, autoplay: !still(), playsInline: true });
  clip.setAttribute("aria-label", title(video));
  clip.addEventListener("canplay", () => { if (!still()) clip.play().catch(() => {}); }, { once: true });
  if (video.width && video.height) clip.style.aspectRatio = `${video.width} / ${video.height}`;
  const save = make("a", "k-button k-main", "Download");
  save.href = contentAt(video.id);
  save.download = `${video.id}.mp4`;
  const row = make("div", "k-actions");
  row.append(save, reuseButton(video, "Use these settings"), deleteButton(video, "k-quiet"));
  return [[clip], [...video.warnings.map(warning), row, about(video)]];
}
function still() { return matchMedia("(prefers-reduced-motion: reduce)").matches; }

function failedScreen(video) {
  const box = make("div", "k-center");
  const [problem, fix] = (video.error?.message ?? "").split("\n  fix: ");
  box.append(make("p", "k-big", video.cancelled ? "Cancelled" : "This clip failed"));
  if (!video.cancelled) box.append(make("p", "k-problem", human(problem) || "No reason was given."));
  const advice = video.error?.fix ?? fix;
  if (!video.cancelled && advice) box.append(make("p", "k-soft", human(advice)));
  const row = make("div", "k-actions");
  row.append(reuseButton(video, "Use these settings"), deleteButton(video, "k-quiet"));
  return [[box], [row, about(video)]];
}

function reuseButton(video, text) {
  const node = button(text, "", () => reuse(video));
  node.dataset.action = "reuse";
  return node;
}
// Asks once more in its own place instead of in a dialog.
function deleteButton(video, className, question = "Really delete?") {
  const node = button("Delete", className, async () => {
    if (!node.dataset.sure) {
      node.dataset.sure = "1";
      write(node, question);
      setTimeout(() => { delete node.dataset.sure; write(node, "Delete"); }, 4000);
      return;
    }
    node.disabled = true;
    if (await attempt(() => remove(video.id))) forget(video.id);
    else node.disabled = false;
  });
  node.dataset.action = "delete";
  return node;
}

function warning(text) {
  const box = make("p", "k-warning", human(text));
  box.setAttribute("role", "note");
  return box;
}

// Every value the clip was made with; the seed first, because it brings the same clip again.
function about(video) {
  const box = make("details", "k-about");
  const line = make("summary");
  const facts = [
    video.width ? `${video.width} × ${video.height}` : null,
    video.duration ? `${video.duration.toFixed(1)} s` : null,
    video.seed != null ? `seed ${video.seed}` : null,
    video.took ? `made in ${span(video.took)}` : null,
    ago(video.created),
  ].filter(Boolean).join(" · ");
  line.append(make("span", "k-title", title(video)), make("span", "k-soft k-facts", facts));
  const list = make("dl");
  const values = { seed: video.seed, ...video.values };
  for (const [name, value] of Object.entries(values)) {
    if (value == null || value === "") continue;
    const label = plan.labels[name] ?? name.replaceAll("_", " ");
    list.append(make("dt", "", label), make("dd", "", String(value)));
  }
  list.append(make("dt", "", "Id"), make("dd", "", video.id));
  box.append(line, list);
  return box;
}

// What went wrong with something the visitor just did, where it was done.
function showError(error) {
  const box = document.getElementById("k-wrong");
  box.replaceChildren();
  box.hidden = !error;
  if (!error) return;
  const fix = error.fix ?? "Try again in a moment.";
  box.append(make("p", "k-problem", human(error.message)), make("p", "k-fix", human(fix)));
  box.scrollIntoView({ block: "nearest" });
}
// Does it and shows what went wrong, if anything; true when it went well.
async function attempt(action) {
  try {
    await action();
    showError(null);
    wake();
    return true;
  } catch (error) {
    showError(error);
    return false;
  }
}
