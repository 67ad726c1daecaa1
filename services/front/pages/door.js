// The page's half of a session. A cookie is sent to every port of this host, also to a stranger's; the storage
// of this origin is read by nobody else. Sign-in puts the key behind the #; each request carries it as a header.
(() => {
  const root = DOOR_ROOT ?? location.pathname.replace(/\/studio(\/.*)?$/, "/");
  const place = `kinokit-key ${root}`;
  const given = location.hash.match(/^#kinokit=([\w-]+)$/);
  let key = null;
  try {
    if (given) localStorage.setItem(place, given[1]);
    key = localStorage.getItem(place);
  } catch { key = given?.[1] ?? null; } // storage is switched off: as long as this page lives
  if (given) history.replaceState(null, "", location.pathname + location.search);
  if (key) document.documentElement.classList.add("k-signed-in");
  const isOwn = (address) => new URL(address, location.href).href.startsWith(`${location.origin}/`);
  const toSignIn = () => { location.replace(`${root}sign-in`); return new Promise(() => {}); };

  const plain = window.fetch.bind(window);
  window.fetch = async (what, options) => {
    const request = new Request(what, options);
    if (!isOwn(request.url)) return plain(request);
    if (key) request.headers.set("X-Kinokit-Key", key);
    const answer = await plain(request);
    return answer.headers.has("X-Kinokit-Sign-In") ? toSignIn() : answer;
  };
  const open = XMLHttpRequest.prototype.open;
  XMLHttpRequest.prototype.open = function (method, address, ...rest) {
    open.call(this, method, address, ...rest);
    if (key && isOwn(address)) this.setRequestHeader("X-Kinokit-Key", key);
  };
  document.addEventListener("click", async (event) => {
    if (!event.target.closest?.(".k-sign-out")) return;
    const headers = { "X-Kinokit-Key": key ?? "" };
    await plain(`${root}sign-out`, { method: "POST", headers }).catch(() => null);
    try { localStorage.removeItem(place); } catch { /* nothing is kept */ }
    toSignIn();
  });
})();
