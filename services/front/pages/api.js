// The videos API of this machine, asked with the visitor's own cookie.
const root = location.pathname.replace(/\/studio(\/.*)?$/, "/");
const videosAt = (path = "") => `${root}v1/videos${path}`;
const contentAt = (id, variant) => videosAt(`/${id}/content${variant ? `?variant=${variant}` : ""}`);

class Refused extends Error {
  constructor(problem, fix, status) { super(problem); this.fix = fix; this.status = status; }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", headers: { Accept: "application/json", ...attended() }, ...options });
  } catch {
    const fix = "Check your connection. If this lasts, see whether the machine still runs.";
    throw new Refused("The machine does not answer.", fix, 0);
  }
  const text = await answer.text();
  if (answer.status === 401) { location.reload(); throw new Refused("Signed out.", "Sign in again.", 401); }
  let body = null;
  try {
    // A seed may have more digits than a JavaScript number holds: it stays text.
    body = JSON.parse(text.replace(/("seed":\s*)(\d{16,})/g, '$1"$2"'));
  } catch { /* a proxy's own page */ }
  if (answer.ok && body != null) return body;
  const error = body?.error ?? {};
  const problem = error.message ?? `The machine answered ${answer.status}.`;
  throw new Refused(problem, error.fix ?? "Try again in a moment.", answer.status);
}

// The parts of a video object that this page shows.
function read(video) {
  const values = video.parameters ?? {};
  return {
    id: video.id, status: video.status, values, prompt: video.prompt || values.prompt || "",
    seed: values.seed, warnings: video.warnings ?? [], error: video.error,
    part: (video.progress ?? 0) / 100, stage: video.stage, eta: video.eta_seconds,
    place: video.queue_position, cancelling: video.cancel_requested,
    created: video.created_at, took: video.status === "completed" ? video.timings?.run_seconds : null,
    duration: values.num_frames && values.fps ? values.num_frames / values.fps : null,
    hasPhoto: video.has_input, width: values.width, height: values.height,
    cancelled: video.error?.code === "cancelled",
    active: video.status === "queued" || video.status === "in_progress",
  };
}

async function newest(limit) {
  const page = await ask(videosAt(`?limit=${limit}`));
  return { videos: page.data.map(read), more: page.has_more };
}
async function olderThan(id, limit) {
  const page = await ask(videosAt(`?limit=${limit}&after=${encodeURIComponent(id)}`));
  return { videos: page.data.map(read), more: page.has_more };
}
async function one(id) { return read(await ask(videosAt(`/${id}`))); }
async function cancel(id) { return read(await ask(videosAt(`/${id}/cancel`), { method: "POST" })); }
async function remove(id) { await ask(videosAt(`/${id}`), { method: "DELETE" }); }

// `values` by field name; the photo is what Gradio's image control holds.
async function create(values, photo) {
  const form = new FormData();
  for (const [name, value] of Object.entries(values)) form.append(name, String(value));
  if (photo) {
    const file = await fetch(photo.url);
    if (!file.ok) throw new Refused("The photo is gone from this machine.", "Choose it again.", file.status);
    form.append("input_reference", await file.blob(), photo.orig_name || "photo");
  }
  return read(await ask(videosAt(), { method: "POST", body: form }));
}
