// Puts the parts together: asks the API how things stand, fills the form again, sends what it holds.
const CHOSEN = "kinokit-chosen"; // survives a reload of this tab
let selected = sessionStorage.getItem(CHOSEN);
let timer = 0, missed = 0, asking = false, again = null;

function select(id) {
  selected = id;
  if (id) sessionStorage.setItem(CHOSEN, id);
  else sessionStorage.removeItem(CHOSEN);
  showAll();
}
// Without a choice: what is being made, else the newest clip.
function onScreen() {
  const videos = library.order.map((id) => library.videos.get(id));
  return library.videos.get(selected) ?? videos.findLast((video) => video.active)
    ?? videos.find((video) => video.status === "completed") ?? null;
}
function showAll() {
  const video = onScreen();
  showOnScreen(video);
  showLibrary();
  const progress = video?.status === "in_progress" ? `${Math.round(video.part * 100)} % · ` : "";
  document.title = progress + pageTitle;
}
const pageTitle = document.title.replace(/^\d+ % · /, "");

async function follow() {
  clearTimeout(timer);
  if (!element.isConnected) return;
  if (!asking) {
    asking = true;
    try {
      mergeNewest(await newest(PAGE));
      if (selected && !library.order.includes(selected)) await chosenFromFarBack();
      const shown = onScreen(); // lists do not hold a video's place in the queue
      if (shown?.status === "queued") library.videos.set(shown.id, await one(shown.id));
      missed = 0;
      showAll();
    } catch { missed += 1; }
    asking = false;
    await showTrouble();
  }
  const busy = library.order.some((id) => library.videos.get(id).active);
  const wait = document.hidden ? 5000 : busy ? 800 : 4000;
  timer = setTimeout(follow, missed ? Math.min(10000, 1000 * 2 ** missed) : wait);
}
// A line above the library while the machine is away, or its worker is: clips wait then, and are not lost.
async function showTrouble() {
  let text = "";
  if (missed >= 2) text = TROUBLE.silent;
  else if (!missed && looks++ % 5 === 0) {
    const boot = await ask(`${root}status`).then((status) => status.boot, () => ({ state: "ready" }));
    showIdleStop(boot, `${root}stay`);
    const state = boot.state;
    trouble = state === "ready" ? "" : TROUBLE[state] ?? TROUBLE.loading;
  }
  part("lost").hidden = !(text || trouble);
  write(part("lost"), text || trouble);
}
const TROUBLE = {
  silent: "The machine does not answer. What is being made goes on; this page asks again every few seconds.",
  loading: "The model is being loaded. Clips that you ask for now wait until it is there.",
  failed: "The model could not be started again: look at the log with kinokit logs.",
  stopping: "This machine is shutting down. Clips that wait are kept for the next start.",
};
let looks = 0, trouble = "";

async function chosenFromFarBack() {
  try {
    library.videos.set(selected, await one(selected));
  } catch (error) {
    if (error.status !== 404) return;
    library.videos.delete(selected);
    selected = null;
    sessionStorage.removeItem(CHOSEN);
  }
}
function wake() { follow(); }

// Settings of an earlier clip, for the form. The photo is uploaded again: the form's copy may be gone.
async function reuse(video) {
  await attempt(async () => {
    let photo = null;
    if (video.hasPhoto) {
      const answer = await fetch(contentAt(video.id, "input"));
      if (!answer.ok) throw new Refused("The photo of this clip is gone.", "Choose it again.", answer.status);
      photo = await forForm(await answer.blob());
    }
    again = { values: video.values, photo };
    trigger("reuse");
  });
}
// What Gradio's image control holds: a file that its own upload route has taken.
async function forForm(blob) {
  const name = `photo.${(blob.type.split("/")[1] ?? "png").replace("jpeg", "jpg")}`;
  const kept = await upload(new File([blob], name, { type: blob.type }));
  return { ...kept, orig_name: name, mime_type: blob.type, meta: { _type: "gradio.FileData" } };
}
function filled(names) {
  const { values, photo } = again;
  return names.map((name) => {
    if (name === "input_reference") return photo;
    if (name === "size" && values.width) return `${values.width}x${values.height}`;
    if (["width", "height", "seconds"].includes(name)) return ""; // size and frames give them
    if (plan.texts.includes(name)) return String(values[name] ?? "");
    return values[name] ?? plan.defaults[name] ?? (name === "preset" ? "" : null);
  });
}
// A preset gives its values, and the defaults of what only other presets change.
function followPreset(name, names, current) {
  const touched = new Set(Object.values(plan.presets).flatMap((values) => Object.keys(values)));
  const wanted = plan.presets[name] ?? {};
  const value = (field) => wanted[field] ?? plan.defaults[field];
  return names.map((field, index) => (touched.has(field) ? value(field) : current[index]));
}
// A field that was switched off gives other fields the values that they then need.
function followSwitch(name, on, names, current) {
  const off = plan.switches[name];
  const values = on ? plan.defaults : off;
  return names.map((field, index) => (field in off ? values[field] : current[index]));
}

function asked(names, values) {
  const pairs = names.map((name, index) => [name, values[index]]);
  const given = Object.fromEntries(pairs.filter(([, value]) => value != null && value !== ""));
  const photo = given.input_reference;
  delete given.input_reference;
  if (given.width || given.height) delete given.size; // the exact one wins over the choice
  if (given.seconds) delete given.num_frames;
  return [given, photo];
}
function missing(given, photo) {
  if (plan.prompt && !given.prompt?.trim())
    return new Refused("There is no prompt yet.", "Say in a sentence or two what to show.");
  if (plan.photo === "needed" && !photo)
    return new Refused("There is no photo yet.", "Drop one on the form, or click there to choose a file.");
  return null;
}
function label(frames, fps) {
  return frames > 0 && fps > 0 ? `Make the clip, ${(frames / fps).toFixed(1)} s` : "Make the clip";
}
let sending = false;
async function send(names, values) {
  const [given, photo] = asked(names, values);
  const lacks = missing(given, photo);
  if (lacks) return showError(lacks);
  if (sending) return; // a double click makes one clip
  sending = true;
  document.getElementById("k-make").classList.add("k-sending");
  await attempt(async () => {
    const video = await create(given, photo);
    library.videos.set(video.id, video);
    library.order.unshift(video.id);
    select(video.id);
    if (innerWidth < 800) scrollToScreen();
  });
  sending = false;
  document.getElementById("k-make").classList.remove("k-sending");
}

part("older").onclick = () => attempt(async () => { await loadOlder(); showAll(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && element.isConnected) {
    event.preventDefault();
    document.activeElement?.blur(); // so that the form takes over what was just typed
    setTimeout(() => document.getElementById("k-make").click(), 50);
  }
});
document.addEventListener("paste", (event) => {
  const image = [...event.clipboardData.files].find((file) => file.type.startsWith("image/"));
  if (!image || plan.photo === "none" || !element.isConnected) return;
  event.preventDefault();
  attempt(async () => { again = { photo: await forForm(image) }; trigger("photo"); });
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) follow(); });
window.kinokit = {
  make: send, label, filled, pasted: () => again.photo, followPreset, followSwitch,
};
follow();
