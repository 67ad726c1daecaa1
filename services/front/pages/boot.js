// Follows the start of the machine: asks /status once a second, and opens the service when it is there.
const WORDS = {
  detect: ["Looking at this machine", "Looked at this machine"],
  choose: ["Choosing how to run the model", "Chose how to run the model"],
  fetch: ["Downloading the model", "Model downloaded and checked"],
  launch: ["Starting the worker", "Worker started"],
  load: ["Loading the model into memory", "Model loaded"],
};
const STATES = {
  starting: "Starting", detecting: "Starting", choosing: "Starting", fetching: "Downloading",
  launching: "Starting", loading: "Loading", ready: "Ready", failed: "Stopped by a problem",
  stopping: "Shutting down",
};
const $ = (id) => document.getElementById(id);
let missed = 0, spoken = "", fetchSeen = false;

function setBar(node, part) {
  node.classList.toggle("unknown", part == null);
  if (part == null) return node.removeAttribute("aria-valuenow");
  const within = Math.max(0, Math.min(1, part));
  node.style.setProperty("--done", within);
  node.setAttribute("aria-valuenow", Math.round(within * 100));
}
function share(phase) {
  if (known(phase.progress)) return phase.progress > 1 ? phase.progress / 100 : phase.progress;
  return phase.bytes_total ? phase.bytes_done / phase.bytes_total : null;
}

function showHeadline(boot, current) {
  const failed = boot.state === "failed", ready = boot.state === "ready";
  let head = "Starting", sub = "", part = null;
  if (ready && boot.service === "ui") [head, sub] = ["Opening the studio", "A few seconds more…"];
  else if (ready) [head, part] = ["Ready", 1];
  else if (failed) head = "The start stopped";
  else if (boot.state === "stopping") head = "Shutting down";
  else if (current) {
    head = WORDS[current.name]?.[0] ?? current.name;
    part = share(current);
    if (part != null) sub = `${Math.floor(part * 100)} %`;
    if (current.bytes_total) sub += ` · ${bytes(current.bytes_done)} of ${bytes(current.bytes_total)}`;
    if (current.bytes_per_second > 0) sub += ` · ${bytes(current.bytes_per_second)}/s`;
    if (known(current.eta_seconds)) sub += ` · ${left(current.eta_seconds)}`;
    if (!sub) sub = current.detail || "";
  }
  write($("headline"), head);
  write($("subline"), sub);
  $("subline").hidden = !sub;
  write($("model"), boot.title || boot.model || "\u00a0");
  write($("state"), STATES[boot.state] ?? boot.state);
  $("state").className = failed ? "pill bad" : boot.state === "stopping" ? "pill warn" : "pill";
  $("bar").hidden = failed || part === 1 || boot.state === "stopping";
  setBar($("bar"), part);
  document.title = (part != null && part < 1 ? `${Math.floor(part * 100)} % · ` : "") + `${head} · kinokit`;
  if (head !== spoken) write($("spoken"), spoken = head);
}

function showSteps(boot, now) {
  const list = $("steps");
  const phaseOf = (name) => boot.phases?.find((phase) => phase.name === name);
  const phases = Object.keys(WORDS).map((name) => phaseOf(name) ?? { name, state: "waiting" });
  phases.forEach((phase, index) => {
    const row = list.children[index] ?? list.appendChild(stepRow());
    const stopped = boot.state === "failed" && boot.failure?.phase === phase.name;
    const failed = stopped || phase.state === "failed";
    const state = failed ? "failed" : ["done", "running"].includes(phase.state) ? phase.state : "waiting";
    if (row.className !== state) row.className = state;
    const [sign, name, time, detail] = row.children;
    write(sign, { done: "✓", failed: "!" }[state] ?? "");
    write(name, WORDS[phase.name][state === "done" ? 1 : 0]);
    name.dataset.state = state;
    write(time, state === "waiting" ? "" : took(phase, boot, now));
    write(detail, (state !== "waiting" && phase.detail) || "");
    detail.hidden = !detail.textContent;
    row.setAttribute("aria-label", `${name.textContent}: ${state}. ${detail.textContent}`);
  });
}
function stepRow() {
  const row = make("li");
  const sign = make("span", "sign");
  sign.setAttribute("aria-hidden", "true");
  row.append(sign, make("span", "name"), make("span", "time"), make("span", "detail"));
  return row;
}
function took(phase, boot, now) {
  if (!known(phase.started_at)) return "";
  const clock = (time) => (time > 1e9 ? time : boot.started_at + time);
  const start = clock(phase.started_at);
  const end = known(phase.ended_at) ? clock(phase.ended_at) : now;
  return end >= start ? span(end - start) : "";
}

function showFiles(boot) {
  const phase = boot.phases?.find((p) => p.name === "fetch");
  const files = phase?.files ?? [];
  $("files").hidden = !files.length;
  if (!files.length) return;
  if (!fetchSeen) { fetchSeen = true; $("files").open = phase.state === "running" && files.length <= 12; }
  const done = files.filter((f) => f.state === "done").length;
  write($("files-title"), `Files: ${done} of ${files.length} done`);
  const list = $("file-list");
  while (list.children.length > files.length) list.lastChild.remove();
  files.forEach((file, index) => {
    const row = list.children[index] ?? list.appendChild(fileRow());
    write(row.querySelector(".path"), file.path);
    write(row.querySelector(".amount"), file.state === "done" ? `✓ ${bytes(file.bytes_total)}`
      : file.state === "failed" ? "failed" : `${bytes(file.bytes_done)} of ${bytes(file.bytes_total)}`);
    const bar = row.querySelector(".bar");
    bar.setAttribute("aria-label", file.path);
    setBar(bar, file.state === "done" ? 1 : file.bytes_total ? file.bytes_done / file.bytes_total : 0);
  });
}
function fileRow() {
  const row = make("li"), line = make("div", "line"), bar = make("div", "bar");
  line.append(make("span", "path"), make("span", "amount"));
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", "100");
  bar.append(make("i"));
  row.append(line, bar);
  return row;
}

const RENTED = ["clore", "vast", "runpod", "runpod-serverless"];
const PLACES = {
  clore: "Clore", vast: "Vast.ai", runpod: "RunPod", "runpod-serverless": "RunPod Serverless",
  docker: "Docker", bare: "this computer",
};
function showFacts(boot, now) {
  const facts = [
    ["Where", PLACES[boot.platform] ?? boot.platform],
    ["Hardware", boot.phases?.find((p) => p.name === "detect")?.detail],
    ["Model", boot.title || boot.model],
    ["Licence", boot.licence?.id],
    ["Runs as", boot.phases?.find((p) => p.name === "choose")?.detail],
    ["Address", boot.url],
    ["On for", known(boot.started_at) && now > boot.started_at ? span(now - boot.started_at) : null],
    ["A clip", clipFact(boot.prediction)],
    ["Costs", known(boot.hourly_cost) ? `${money(boot.hourly_cost)} an hour` : null],
  ].filter(([, value]) => value);
  const list = $("facts");
  $("facts-card").hidden = !facts.length;
  if (list.children.length !== facts.length * 2)
    list.replaceChildren(...facts.flatMap(() => [make("dt"), make("dd")]));
  facts.forEach(([name, value], index) => {
    write(list.children[2 * index], name);
    write(list.children[2 * index + 1], value);
  });
}
// What each clip after the first takes and costs, measured or predicted, and what of it the way to the card adds.
function clipFact(said) {
  if (!known(said?.clip_seconds)) return null;
  const parts = [`${said.clip_seconds.toFixed(0)} s`];
  if (known(said.clip_dollars)) parts.push(`$${said.clip_dollars.toFixed(3)}`);
  if (said.clip_link_seconds >= 1) parts.push(`${said.clip_link_seconds.toFixed(0)} s of it because of ${said.pcie}`);
  return `${parts.join(", ")} (${said.basis?.clip ?? "predicted"})`;
}
function money(amount) { return `$${amount.toFixed(amount < 1 ? 3 : 2).replace(/(\.\d\d)0$/, "$1")}`; }

function showFindings(boot) {
  const text = JSON.stringify(boot.findings ?? []);
  if ($("findings").dataset.text === text) return;
  $("findings").dataset.text = text;
  $("findings").replaceChildren(...(boot.findings ?? []).map((finding) => {
    const card = make("section", "card notice");
    card.append(make("h2", "", finding.problem), make("p", "soft", finding.fix));
    return card;
  }));
}

// Lines as the terminal aligns them, "  name    value" or only a value, as a table that a phone can wrap.
function showDetails(lines) {
  const list = $("details"), text = lines.join("\n");
  list.hidden = !lines.length;
  if (list.dataset.text === text) return;
  list.dataset.text = text;
  list.replaceChildren();
  for (const line of lines) {
    const [, name, value] = line.match(/^ {1,4}(\S.*?) {2,}(\S.*)$/) ?? [null, "", line.trim()];
    if (name || !list.lastChild) list.append(make("dt", "", name), make("dd", "", value));
    else list.lastChild.textContent += `\n${value}`;
  }
}

function showFailure(boot) {
  const unknown = { problem: "The start failed.", fix: "Look at the log: kinokit logs" };
  const failure = boot.state === "failed" ? boot.failure ?? unknown : null;
  $("failure").hidden = !failure;
  if (!failure) return;
  // A refusal lists what was found and what would fit.
  const [problem, ...details] = failure.problem.split("\n");
  write($("problem"), problem);
  showDetails(details);
  write($("fix"), failure.fix);
  const where = RENTED.includes(boot.platform) ? ` on ${PLACES[boot.platform]}` : "";
  write($("cost"), `${costs(boot)}${where}. The whole story is in the log: kinokit logs`);
}
function costs(boot) {
  const hour = boot.hourly_cost;
  if (known(hour))
    return `This machine goes on costing ${money(hour)} an hour, ${money(hour * 24)} a day,`
      + " until you stop it";
  if (RENTED.includes(boot.platform)) return "The rent goes on until you stop this machine";
  return "Nothing else runs; this page stays until you stop the kit";
}

function showAsks(boot) {
  const asks = boot.state === "failed" ? null : boot.asks;
  if ($("asks").hidden && asks) write($("asks-said"), "");
  $("asks").hidden = !asks;
  if (!asks) return;
  write($("asks-problem"), asks.problem);
  write($("asks-what"), asks.host ? "Make a key of your account at" : "Accept the licence and make a read token at");
  const page = $("asks-page"), address = /^https?:\/\//.test(asks.page) ? asks.page : "";
  write(page, address);
  if (page.href !== address) page.href = address;
  write($("asks-cost"), costs(boot));
  $("asks-form").onsubmit = giveToken;
}
async function giveToken(event) {
  event.preventDefault();
  const field = $("asks-token"), token = field.value;
  field.value = "";
  write($("asks-said"), "Asking the hub…");
  const answer = await fetch("hub-token", { method: "POST", body: JSON.stringify({ token }) }).catch(() => null);
  if (!answer?.ok) write($("asks-said"), "The machine did not take it: try again.");
}

function showReady(boot, { plan }) {
  const api = boot.state === "ready" && boot.service !== "ui";
  $("ready").hidden = !api;
  if (!api || $("ready").childElementCount) return;
  const base = location.href.replace(/[?#].*/, "").replace(/\/$/, "");
  const text = !plan || plan.inputs.includes("text");
  const image = !plan || plan.inputs.includes("image");
  const card = make("section", "card");
  card.append(
    make("h2", "", "The API answers here"),
    command("Your token, from the file that kinokit status names", "export KINOKIT_TOKEN=…"),
  );
  const key = 'curl -H "Authorization: Bearer $KINOKIT_TOKEN" \\\n  ';
  const prompt = text ? '-F prompt="a paper boat on a pond" ' : "";
  const fields = prompt + (image ? "-F input_reference=@photo.jpg " : "");
  card.append(
    command("Ask for a clip", `${key}${fields}${base}/v1/videos`),
    command("Follow it", `${key}${base}/v1/videos/VIDEO_ID`),
    command("Fetch it", `${key}-o clip.mp4 ${base}/v1/videos/VIDEO_ID/content`),
    make("p", "label", "Health, open to all"),
    links({ healthz: "/healthz", readyz: "/readyz", ping: "/ping" }),
    make("p", "label", "With the token"),
    links({ "openapi.json": "API description (OpenAPI)", status: "/status" }),
  );
  $("ready").append(card);
}
function command(label, text) {
  const box = make("div");
  const frame = make("div", "command");
  const button = make("button", "", "Copy");
  button.type = "button";
  button.setAttribute("aria-label", `Copy: ${label}`);
  button.onclick = () => copy(text, button);
  frame.append(make("pre", "", text), button);
  box.append(make("p", "label", label), frame);
  return box;
}
async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // http pages on rented machines have no clipboard API: select the text, so that Ctrl-C works
    const range = document.createRange();
    range.selectNodeContents(button.previousSibling);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    if (!document.execCommand("copy")) return;
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}
function links(paths) {
  const row = make("p", "links small");
  for (const [path, text] of Object.entries(paths)) {
    const link = make("a", "", text);
    link.href = path;
    row.append(link);
  }
  return row;
}

function show(status, now) {
  const boot = { ...status.boot };
  if (status.studio === "failed") {
    boot.service = "api";
    const problem = "The studio could not be started; the API works.";
    boot.findings = [...(boot.findings ?? []), { problem, fix: "The reason is in the log: kinokit logs" }];
  }
  const phases = boot.phases ?? [];
  showHeadline(boot, phases.find((p) => p.state === "running"));
  showSteps(boot, now);
  showFiles(boot);
  showWaterfall(boot, now);
  showFacts(boot, now);
  showFindings(boot);
  showFailure(boot);
  showAsks(boot);
  showReady(boot, status);
  const away = ["fetching", "loading", "launching", "starting", "detecting", "choosing"].includes(boot.state);
  write($("asleep"), away ? "You can close this page and come back: the start goes on without it." : "");
}

// The front answers with the marker for as long as it has only this page to show.
async function openStudio() {
  const answer = await fetch("./", { cache: "no-store", headers: attended() });
  if (answer.ok && !answer.headers.has("X-Kinokit-Boot")) location.reload();
}

function showLost(wait) {
  $("lost").hidden = missed < 2;
  const soon = `${Math.round(wait / 1000)} s`;
  write($("lost-text"), `Asked ${missed} times without an answer; asking again in ${soon}. `
    + "It may be restarting. If this lasts, see whether the machine still runs where you rented it.");
}

async function follow() {
  let wait = 1000;
  try {
    const answer = await fetch("status", { cache: "no-store", headers: attended(), signal: AbortSignal.timeout(8000) });
    // The token changed: the front shows its sign-in page.
    if (answer.status === 401) return location.reload();
    if (!answer.ok) throw new Error(answer.status);
    const status = await answer.json();
    const boot = status.boot, studio = boot.service === "ui" && status.studio !== "failed";
    // By the machine's clock, not this one's.
    const sent = Date.parse(answer.headers.get("Date") ?? "") / 1000;
    missed = 0;
    $("lost").hidden = true;
    show(status, sent || Date.now() / 1000);
    showIdleStop(boot, "stay");
    if (boot.state === "ready" && studio) await openStudio();
    if (boot.state === "ready" && !studio) wait = 5000;
  } catch {
    missed += 1;
    wait = Math.min(10000, 1000 * 2 ** Math.min(missed, 4));
    showLost(wait);
  }
  setTimeout(follow, document.hidden ? Math.max(wait, 4000) : wait);
}
document.addEventListener("DOMContentLoaded", follow);
