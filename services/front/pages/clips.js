// What the studio calls a clip, its age and its stages.
const STAGES = {
  load: "Loading the model", encode: "Reading what you gave", sample: "Making the frames",
  decode: "Developing the frames", write: "Writing the clip", upload: "Handing over the clip",
};

function ago(time) {
  const past = Date.now() / 1000 - time;
  if (past < 60) return "just now";
  if (past < 3600) return `${Math.floor(past / 60)}\u00a0min\u00a0ago`;
  if (past < 86400) return `${Math.floor(past / 3600)}\u00a0h\u00a0ago`;
  const day = { day: "numeric", month: "short", year: "numeric" };
  return new Date(time * 1000).toLocaleDateString(undefined, day);
}
// A short title that distinguishes clips.
function title(video) {
  if (video.prompt) return video.prompt;
  const about = [];
  if (video.values.preset) about.push(String(video.values.preset).replaceAll("-", " "));
  if (video.values.motion_bucket_id != null) about.push(`motion ${video.values.motion_bucket_id}`);
  const text = about.join(" · ");
  return text ? text[0].toUpperCase() + text.slice(1) : "Clip";
}
// The API names fields; this page shows their labels.
function human(text) {
  const named = String(text ?? "").replace(/\b[a-z]+(?:_[a-z]+)+\b/g, (name) => plan.labels[name] ?? name);
  return named ? named[0].toUpperCase() + named.slice(1) : "";
}
function button(text, className, action) {
  const node = make("button", `k-button ${className}`, text);
  node.type = "button";
  node.onclick = action;
  return node;
}
