// What was made: tiles, newest first, older ones on demand.
const PAGE = 24;
const library = { videos: new Map(), order: [], hasOlder: false, wentOlder: false };

// The newest page as the API gives it now, before what was loaded of older ones.
function mergeNewest({ videos, more }) {
  const fresh = videos.map((video) => video.id);
  const last = videos.at(-1);
  // A clip as new as this page that is not on it was deleted elsewhere.
  const older = last && more ? library.order.slice(library.order.indexOf(last.id) + 1) : [];
  const kept = library.order.includes(last?.id) ? older.filter((id) => !fresh.includes(id)) : [];
  library.order = [...fresh, ...kept];
  videos.forEach((video) => library.videos.set(video.id, video));
  if (!library.wentOlder || !kept.length) library.hasOlder = more;
}
async function loadOlder() {
  const { videos, more } = await olderThan(library.order.at(-1), PAGE);
  videos.forEach((video) => library.videos.set(video.id, video));
  library.order.push(...videos.map((video) => video.id).filter((id) => !library.order.includes(id)));
  library.hasOlder = more;
  library.wentOlder = true;
}
function forget(id) {
  library.order = library.order.filter((known) => known !== id);
  library.videos.delete(id);
  if (selected === id) select(null);
  showLibrary();
}

function showLibrary() {
  const list = part("tiles");
  const tiles = new Map([...list.children].map((tile) => [tile.dataset.id, tile]));
  const wanted = library.order.map((id) => {
    const video = library.videos.get(id);
    const tile = tiles.get(id);
    if (tile?.dataset.status === video.status) { moveTile(tile, video); return tile; }
    return buildTile(video);
  });
  // Untouched nodes stay in place: no flicker, and focus is kept.
  wanted.forEach((tile, index) => {
    if (list.children[index] !== tile) list.insertBefore(tile, list.children[index] ?? null);
  });
  while (list.children.length > wanted.length) list.lastChild.remove();
  part("none").hidden = wanted.length > 0;
  part("older").hidden = !library.hasOlder;
  const count = `${wanted.length}${library.hasOlder ? "+" : ""} ${wanted.length === 1 ? "clip" : "clips"}`;
  write(part("count"), wanted.length ? count : "");
  for (const tile of list.children) tile.classList.toggle("k-chosen", tile.dataset.id === selected);
}

function buildTile(video) {
  const tile = make("li", "k-tile");
  tile.dataset.id = video.id;
  tile.dataset.status = video.status;
  const open = make("button", "k-open");
  open.type = "button";
  open.onclick = () => { select(video.id); scrollToScreen(); };
  open.append(picture(video), make("span", "k-tile-title", title(video)), make("span", "k-tile-facts"));
  const row = make("div", "k-tile-actions");
  if (!video.active) row.append(reuseButton(video, "Reuse"), deleteButton(video, "", "Sure?"));
  tile.append(open, row);
  moveTile(tile, video);
  return tile;
}
function moveTile(tile, video) {
  const words = {
    queued: "Waiting", in_progress: `${Math.round(video.part * 100)} %`,
    failed: video.cancelled ? "Cancelled" : "Failed",
  };
  const facts = [
    words[video.status],
    video.status === "completed" && video.duration ? `${video.duration.toFixed(1)} s` : null,
    !video.prompt && video.seed != null ? `seed ${video.seed}` : null,
    ago(video.created),
  ];
  write(tile.querySelector(".k-tile-facts"), facts.filter(Boolean).join(" · "));
  tile.querySelector(".k-picture").style.setProperty("--done", video.active ? video.part : 1);
}
function picture(video) {
  const look = video.active ? "busy" : video.cancelled ? "cancelled" : video.status;
  const frame = make("span", `k-picture k-is-${look}`);
  if (video.status === "completed" || video.hasPhoto) {
    const image = make("img");
    image.src = contentAt(video.id, video.status === "completed" ? "thumbnail" : "input");
    Object.assign(image, { alt: "", loading: "lazy", decoding: "async" });
    image.onerror = () => image.remove();
    frame.append(image);
  }
  return frame;
}
