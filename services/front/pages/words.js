// Numbers in plain words, and the text of nodes: for every page.
function known(value) { return typeof value === "number" && isFinite(value); }

function bytes(count) {
  if (!known(count)) return "?";
  for (const [size, name] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]])
    if (count >= size) return `${(count / size).toFixed(count / size < 10 ? 1 : 0)} ${name}`;
  return `${Math.round(count)} B`;
}
function span(seconds) {
  if (seconds < 1) return "under 1 s";
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
}
function left(seconds) {
  if (!known(seconds)) return "";
  if (seconds < 90) return `about ${Math.max(5, Math.ceil(seconds / 5) * 5)} s left`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min left`;
  return `about ${(seconds / 3600).toFixed(1)} h left`;
}
function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text != null) node.textContent = text;
  return node;
}
// Writing the same text again would make screen readers repeat it and selections vanish.
function write(node, text) { if (node.textContent !== text) node.textContent = text; }
