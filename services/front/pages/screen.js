// The screen: one clip, large, with what can be done with it; or what to do first.
const part = (name) => element.querySelector(`[data-part="${name}"]`);
let shownKey = "";

// Rebuilt only when the clip or its status changes; while it runs, only numbers move.
function showOnScreen(video) {
  const key = video ? `${video.id} ${video.status}` : "empty";
  if (key !== shownKey) {
    shownKey = key;
    const [screen, below] = !video ? emptyScreen() : video.active ? busyScreen(video)
      : video.status === "completed" ? playingScreen(video) : failedScreen(video);
    part("screen").replaceChildren(...screen);
    part("below").replaceChildren(...below);
    part("screen").className = `k-screen ${!video ? "k-empty" : video.active ? "k-busy" : video.status === "completed" ? "k-playing" : "k-failed"}`;
    write(part("spoken"), !video ? "" : { queued: "Waiting in the queue", in_progress: "The clip is being made", completed: "The clip is ready" }[video.status]
      ?? `${video.cancelled ? "Cancelled" : "Failed"}`);
  }
  if (video?.active) progressOn(video);
}

function emptyScreen() {
  const box = make("div", "k-center");
  const text = !plan.prompt ? "Add a photo" : { none: "Write what to show", optional: "Write a prompt, add a photo if you like,", needed: "Add a photo, write a prompt" }[plan.photo];
  box.innerHTML = MARK;
  box.append(make("p", "k-big", "Your clip plays here"), make("p", "k-soft", `${text} and press “Make the clip”.`));
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
    await tell(() => cancel(video.id));
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
  write(box.querySelector(".k-big"), video.cancelling ? "Cancelling" : waits ? "Waiting for its turn" : STAGES[video.stage] ?? video.stage ?? "Starting");
  const numbers = waits
    ? [video.place == null ? "" : video.place === 1 ? "Next in line" : `Number ${video.place} in line`, left(video.eta)]
    : [`${Math.round(video.part * 100)} %`, left(video.eta)];
  write(box.querySelector(".k-numbers"), numbers.filter(Boolean).join(" · "));
  bar.classList.toggle("k-unknown", waits || video.part === 0);
  bar.style.setProperty("--done", video.part);
  bar.setAttribute("aria-valuenow", Math.round(video.part * 100));
}

function playingScreen(video) {
  const clip = make("video");
  Object.assign(clip, { src: contentAt(video.id), controls: true, loop: true, muted: true, autoplay: !still(), playsInline: true });
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
  if (!video.cancelled && (video.error?.fix ?? fix)) box.append(make("p", "k-soft", human(video.error.fix ?? fix)));
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
    if (await tell(() => remove(video.id))) forget(video.id);
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
  const facts = [video.width ? `${video.width} × ${video.height}` : null, video.duration ? `${video.duration.toFixed(1)} s` : null,
    video.seed != null ? `seed ${video.seed}` : null, video.took ? `made in ${seconds(video.took)}` : null, ago(video.created)];
  line.append(make("span", "k-title", title(video)), make("span", "k-soft k-facts", facts.filter(Boolean).join(" · ")));
  const list = make("dl");
  const values = { seed: video.seed, ...video.values };
  for (const [name, value] of Object.entries(values)) {
    if (value == null || value === "") continue;
    list.append(make("dt", "", plan.labels[name] ?? name.replaceAll("_", " ")), make("dd", "", String(value)));
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
  box.append(make("p", "k-problem", human(error.message)), make("p", "k-fix", human(error.fix ?? "Try again in a moment.")));
  box.scrollIntoView({ block: "nearest" });
}
// Does it and says what went wrong, if anything; true when it went well.
async function tell(action) {
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
