// The timeline of the start as a waterfall: what took how long, beside what, and after what.
const TRACKS = { kit: "the kit", packages: "packages", download: "download" };
function showWaterfall(boot, now) {
  const rows = boot.timeline ?? [];
  $("timeline").hidden = rows.length < 2;
  if (rows.length < 2) return;
  const begin = Math.min(...rows.map((row) => row.started_at));
  const ends = rows.map((row) => row.ended_at ?? now);
  const whole = Math.max(0.1, Math.max(...ends) - begin);
  write($("timeline-title"), `Timeline: ${rows.length} parts in ${span(whole)}`);
  const list = $("spans");
  while (list.children.length > rows.length) list.lastChild.remove();
  rows.forEach((row, index) => {
    const item = list.children[index] ?? list.appendChild(spanRow());
    const seconds = Math.max(0, ends[index] - row.started_at), running = row.ended_at == null;
    item.className = running ? "running" : TRACKS[row.track] ? row.track : "worker";
    write(item.querySelector(".path"), row.name);
    const took = seconds < 0.005 ? "" : `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
    const amounts = [running ? "running" : took];
    if (row.bytes) amounts.push(bytes(row.bytes));
    if (row.bytes_per_second) amounts.push(`${bytes(row.bytes_per_second)}/s`);
    write(item.querySelector(".amount"), amounts.filter(Boolean).join(" · "));
    const bar = item.querySelector("i");
    bar.style.setProperty("--from", (row.started_at - begin) / whole);
    bar.style.setProperty("--part", seconds / whole);
    const after = row.waited_for ? ` After ${row.waited_for}.` : "";
    const start = (row.started_at - begin).toFixed(1);
    item.title = `${TRACKS[row.track] ?? row.track}, ${start} s after the command.${after}`;
  });
  showPrediction(boot, rows, begin);
}
function showPrediction(boot, rows, begin) {
  const took = (name) => {
    const row = rows.find((each) => each.name === name && each.ended_at != null);
    return row && row.ended_at - (name === "ready" ? begin : row.started_at);
  };
  const parts = [["download", "fetch"], ["load", "load"], ["ready", "ready"], ["first_clip", "first clip"]]
    .map(([name, row]) => [name.replace("_", " "), boot.prediction?.[`${name}_seconds`], took(row)])
    .filter(([, predicted]) => known(predicted))
    .map(([name, predicted, was]) =>
      `${name} ${predicted.toFixed(1)} s` + (known(was) ? `, was ${was.toFixed(1)} s` : ""));
  $("predicted").hidden = !parts.length;
  write($("predicted"), `Predicted: ${parts.join("; ")}`);
}
function spanRow() {
  const row = make("li"), line = make("div", "line"), bar = make("div", "span");
  line.append(make("span", "path"), make("span", "amount"));
  bar.setAttribute("aria-hidden", "true");
  bar.append(make("i"));
  row.append(line, bar);
  return row;
}
