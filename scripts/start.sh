#!/bin/sh
# The pasted line runs this in any Debian or Ubuntu image: bind the port and show a page, install what is missing,
# thin core first, then hand the port over to the agent, which installs the rest while the weights arrive.
# Safe to run at every start of the container. Settings: KINOKIT_* (see `kinokit config`) and
#   KINOKIT_SOURCE          a git URL (optionally URL@REF), a wheel (path or URL), a checkout, or a PyPI name
#   KINOKIT_HOME            where the programs go (/opt/kinokit: the container's own disk, faster than a volume)
#   KINOKIT_FAILED_MINUTES  stop a rented box so long after a failed start (else as KINOKIT_IDLE_STOP_MINUTES);
#                           0: keep no page, exit at once
# It runs twice: first to become the page's server, then, as that one's child, to do the work.
set -eu

say() { printf '[kinokit %s] %s\n' "$(date -u +%H:%M:%S)" "$*"; }
die() { say "error: $1"; say "  fix: $2"; exit 1; }

# -- where this is, and where files stay: the rules of bootstrap/platforms/*/here.py, before Python is there --------

platform_here() {
    named=$(printf '%s' "${KINOKIT_PLATFORM:-${PLATFORM:-}}" | tr 'A-Z_' 'a-z-')
    case "${KINOKIT_PUBLIC_URL:-${PUBLIC_URL:-}}" in *.clorecloud.net | *.clorecloud.net/) clore=1 ;; *) clore="" ;; esac
    if [ -n "$named" ]; then echo "$named"
    elif [ -n "$clore" ]; then echo clore
    elif [ -n "${RUNPOD_WEBHOOK_GET_JOB:-}${RUNPOD_ENDPOINT_ID:-}" ]; then echo runpod-serverless
    elif [ -n "${RUNPOD_POD_ID:-}" ]; then echo runpod
    elif [ -n "${CONTAINER_ID:-}" ] && [ -n "${VAST_CONTAINERLABEL:-}" ]; then echo vast
    elif env | grep -q '^VAST_TCP_PORT_'; then echo vast
    else echo own; fi
}
data_directory() { # of the platform $1
    volume="${DATA_DIRECTORY:-/workspace}"
    volume="${volume%/}"
    case "$1" in
        runpod-serverless) echo /runpod-volume/kinokit ;;
        runpod) echo /workspace/kinokit ;;
        vast) echo "${volume:-/workspace}/kinokit" ;;
        clore) echo "${HOME:-/root}/kinokit" ;;
        *) echo "${KINOKIT_VOLUME:-${XDG_DATA_HOME:-${HOME:-/root}/.local/share}/kinokit}" ;;
    esac
}
how_to_end() { # on the platform $1
    case "$1" in
        runpod*) echo "stop or terminate it on console.runpod.io" ;;
        vast) echo "stop or destroy the instance on cloud.vast.ai" ;;
        clore) echo "end the order on clore.ai under My Orders" ;;
        *) echo "stop this container or press Ctrl-C; a rented machine ends on its marketplace's site" ;;
    esac
}
stop_box() { # with the key that the platform gives for this box alone; it stands in no process list
    case "$platform" in
        runpod) method=POST key="${RUNPOD_API_KEY:-}" url="https://rest.runpod.io/v1/pods/${RUNPOD_POD_ID:-}/stop" ;;
        vast) method=PUT key="${CONTAINER_API_KEY:-}"
            url="https://console.vast.ai/api/v0/instances/${CONTAINER_ID:-}/" ;;
        *) key="" ;;
    esac
    if [ -z "$key" ] || ! command -v curl > /dev/null; then
        say "this box cannot stop itself; $(how_to_end "$platform")"; return 1
    fi
    say "nobody mended this start: the box stops itself"
    printf 'header = "Authorization: Bearer %s"\n' "$key" | curl -fsS --max-time 60 --retry 5 -K - -X "$method" \
        -H 'Content-Type: application/json' -d '{"state": "stopped"}' "${KINOKIT_STOP_URL:-$url}" > /dev/null \
        || { say "the box could not be stopped; $(how_to_end "$platform")"; return 1; }
}
writable() { mkdir -p "$1" 2> /dev/null && [ -w "$1" ]; }

port_number() { # KINOKIT_PORT is an address where Kubernetes has a Service called kinokit
    for number in "${KINOKIT_PORT:-}" "${PORT:-}" 8000; do
        case "$number" in "" | *[!0-9]*) ;; *) echo "$number"; return ;; esac
    done
}

platform=$(platform_here)
if [ "${KINOKIT_START_STOP:-}" = 1 ]; then stop_box; exit; fi
data="${KINOKIT_DATA_DIR:-$(data_directory "$platform")}"
if ! writable "$data/logs" && [ -z "${KINOKIT_DATA_DIR:-}" ]; then
    KINOKIT_PAGE_NOTE="$data cannot be written to" data="${TMPDIR:-/tmp}/kinokit"
    KINOKIT_DATA_DIR="$data"
    export KINOKIT_DATA_DIR KINOKIT_PAGE_NOTE
    writable "$data/logs" || true
fi

# -- the page: a small server that is also the container's init ------------------------------------------------------
# It binds the port, runs this script again as its child with the port's socket (KINOKIT_LISTEN_FD) and keeps its
# output: to the console, to start.log (bounded) and on the page. The agent takes the socket over and says so with
# SIGUSR1: connections wait in one queue all the time, none is refused. Signals go to the child, orphans are reaped,
# and the child's end is the end, unless it failed: then the page stays and shows why.
# The same program in two languages: every Debian has perl-base, other images may have Python alone.

page_html() { cat << 'HTML'
<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="3"><meta name="referrer" content="no-referrer"><title>@title@ · kinokit</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 0 auto; padding: 2rem 1rem; }
pre { background: rgb(128 128 128 / .15); border-radius: 10px; padding: 1rem; white-space: pre-wrap;
  overflow-wrap: anywhere; font-size: .8125rem; }
button { font: inherit; padding: .5rem 1rem; }
</style></head><body><p>kinokit</p><h1>@title@</h1><p>@what@</p>@remedy@<p>@cost@</p><pre>@log@</pre></body></html>
HTML
}

serve_with_perl() { exec perl - "$@" << 'PERL'
use strict; use warnings;
use Fcntl; use POSIX (); use Socket qw(:DEFAULT :addrinfo IPPROTO_IPV6 IPV6_V6ONLY SOMAXCONN);

my ($html, $log_path, $end, $port) = map { delete $ENV{"KINOKIT_PAGE_$_"} } qw(HTML LOG END PORT);
my $limit = $ENV{KINOKIT_FAILED_MINUTES} || $ENV{KINOKIT_IDLE_STOP_MINUTES} || '';
$limit = '0' if ($ENV{KINOKIT_FAILED_MINUTES} // '') eq '0';
my @secrets = grep { length > 5 } map { $ENV{$_} } grep { /TOKEN|SECRET|PASSWORD|_KEY$/ && !/PUBLIC_KEY/ } keys %ENV;
my ($began, $step, $pending, $most_log_bytes) = (time, 'Starting', '', 8 << 20);
my ($listen, $out, $log, $child, $stops, $handed_at, $stopping, $failed, $deadline, $problem, $fix, @tail, %answering);
$0 = 'kinokit-start'; $| = 1; umask 077;
pipe my $woken, my $wake or die "pipe: $!";
fcntl $_, F_SETFL, O_NONBLOCK for $woken, $wake;
$SIG{PIPE} = 'IGNORE';
$SIG{CHLD} = sub { syswrite $wake, 'x' };
$SIG{USR1} = sub { close $listen if $listen; undef $listen; $handed_at = time; syswrite $wake, 'x' };
$SIG{USR2} = sub { begin() if $failed && !$child };
for my $name (qw(TERM INT HUP)) {
    $SIG{$name} = sub { $stopping = 1; exit 1 unless $child; kill $handed_at ? ($name, $child) : ('TERM', -$child) };
}

sub bound {
    my ($error, $at) = getaddrinfo $ENV{KINOKIT_HOST} || '0.0.0.0', $port, {socktype => SOCK_STREAM};
    return note("no page at port $port: $error") if $error;
    socket my $new, $at->{family}, SOCK_STREAM, 0 or return;
    setsockopt $new, SOL_SOCKET, SO_REUSEADDR, 1;
    setsockopt $new, IPPROTO_IPV6, IPV6_V6ONLY, 1 if $at->{family} == AF_INET6;
    my $is_bound;
    for (1 .. 30) { # a page before this one may be about to end
        $is_bound = bind $new, $at->{addr} and last;
        $!{EADDRINUSE} ? select undef, undef, undef, .1 : last;
    }
    $is_bound and listen $new, SOMAXCONN or return note("no page at port $port: $!");
    fcntl $new, F_SETFL, O_NONBLOCK;
    $listen = $new;
}

sub begin {
    ($stops, $failed, $deadline, $handed_at) = ($_[0], $_[0], undef, undef);
    ($step, $problem, $fix) = ('Starting', '', '') unless $stops;
    bound() unless $listen;
    pipe $out, my $in or die "pipe: $!";
    fcntl $out, F_SETFL, O_NONBLOCK;
    $child = fork // die "fork: $!";
    return if $child;
    $SIG{$_} = 'DEFAULT' for qw(CHLD HUP INT PIPE TERM USR1 USR2);
    setpgrp 0, 0; umask 022;
    open STDIN, '<', '/dev/null'; POSIX::dup2(fileno $in, $_) for 1, 2;
    $ENV{KINOKIT_PAGE_PID} = getppid; $ENV{KINOKIT_START_STOP} = $stops ? 1 : ''; $ENV{KINOKIT_LISTEN_FD} = '';
    if ($listen) { fcntl $listen, F_SETFD, 0; $ENV{KINOKIT_LISTEN_FD} = fileno $listen }
    { exec @ARGV } POSIX::_exit(127);
}

sub ended {
    my ($status) = @_; my $code = $status & 127 ? 128 + ($status & 127) : $status >> 8;
    undef $child; pump();
    exit $code if $stopping || (!$stops && (!$code || $limit eq '0'));
    return undef $stops if $stops;
    return begin() if $handed_at && time - $handed_at > 60; # a service that ran is started again
    $failed = 1; $problem ||= "the start ended with exit code $code"; $fix ||= 'the lines below say what went before';
    bound() unless $listen;
    $deadline = time + 60 * $limit if $limit =~ /^[0-9.]+$/;
    note("the page with this error stays at port $port; " . cost() . " To end it: $end");
}

sub pump {
    for (1 .. 64) {
        last unless $out && defined(my $count = sysread $out, $pending, 65536, length $pending);
        undef $out, $pending .= $pending eq '' ? '' : "\n" unless $count;
        while ($pending =~ s/^([^\n]*)\n// || $pending =~ s/^([^\n]{65000})//) { line($1) }
    }
}

sub line {
    my ($text) = @_; my $clean = clean($text);
    push @tail, $clean; shift @tail if @tail > 40;
    my ($mark, $kind, $words) = $clean =~ /^(\[kinokit [\d:]+\] )?(error: |  fix: |)(.*)/s;
    if ($kind eq 'error: ') { ($problem, $fix) = ($words, '') } elsif ($kind) { $fix ||= $words } elsif ($mark) { $step = $words }
    $text = $clean unless $handed_at; # the agent says its link with the token here, once; it is careful itself
    print "$text\n";
    return unless $log_path;
    if (!$log) { open $log, '>>', $log_path or return undef $log_path; $log->autoflush }
    print $log "$text\n";
    if (-s $log > $most_log_bytes) { close $log; undef $log; rename $log_path, "$log_path.1" }
    return;
}

sub note { line(POSIX::strftime('[kinokit %H:%M:%S] ', gmtime) . $_[0]) }

sub clean {
    my ($text) = @_;
    $text =~ s/([?&]token=)[^&\s]+/$1***/g; $text =~ s{//[^/\@\s]*\@}{//***\@}g; $text =~ s/\bhf_\w{8,}/hf_***/g;
    for my $secret (@secrets) { $text =~ s/\Q$secret\E/***/g }
    return $text;
}

sub cost {
    my $hourly = $ENV{KINOKIT_HOURLY_COST} // ''; my $hours = (time - $began) / 3600;
    return 'A rented machine costs money while it waits.' unless $hourly =~ /^[0-9.]+$/;
    return sprintf 'It costs %.2f USD an hour: %.2f USD since %s.', $hourly, $hourly * $hours, clock($began);
}

sub clock { POSIX::strftime('%H:%M UTC', gmtime $_[0]) }

sub page {
    my %words = (title => 'kinokit is starting', cost => cost(), what => $step, remedy => '');
    if ($failed) {
        @words{qw(title what)} = ('kinokit could not start', $problem); $words{cost} .= " To end it: $end.";
        $words{cost} .= ' It is asked to stop by itself at ' . clock($deadline) . '.' if $deadline;
    }
    $words{log} = join "\n", @tail;
    for (values %words) { s/&/&amp;/g; s/</&lt;/g; s/>/&gt;/g }
    if ($failed) { (my $words = $fix) =~ s/([&<>])/'&#' . ord($1) . ';'/ge;
        $words{remedy} = "<p>$words</p><form method=post action=retry><button>Try again</button></form>" }
    return $html =~ s/\@(title|what|remedy|cost|log)\@/$words{$1}/gr;
}

sub answer {
    my ($request) = @_; my ($verb, $path) = $request =~ m{^(\w+) ([^ ?]*)} or return (400, 'text/plain', '');
    my $state = $failed ? 'failed' : 'starting';
    return (200, 'application/json', '{"status":"ok"}') if $path eq '/healthz';
    return ($failed ? 500 : 204, 'text/plain', '') if $path eq '/ping';
    return (503, 'application/json', qq({"state":"$state","phase":"install","progress":null})) if $path eq '/readyz';
    return (200, 'text/html; charset=utf-8', page(), 'X-Kinokit-Boot: 1') if $path eq '/' && $verb ne 'POST';
    if ($path eq '/retry' && $verb eq 'POST') { kill 'USR2', getppid; return (303, 'text/plain', '', 'Location: ./') }
    return (503, 'application/json', '{"error":{"message":"kinokit is still being installed","type":"server_error",'
        . qq("param":null,"code":"$state","fix":"open the page at /, or try again in a while"}}));
}

sub serve {
    accept my $client, $listen or return;
    return if keys %answering > 60;
    my $pid = fork // return;
    if ($pid) { $answering{$pid} = 1; return }
    $SIG{$_} = 'DEFAULT' for qw(CHLD HUP INT TERM USR1 USR2); alarm 10; close $listen;
    fcntl $client, F_SETFL, 0;
    my $request = '';
    1 while $request !~ /\r?\n\r?\n/ && length $request < 16384 && sysread $client, $request, 4096, length $request;
    my ($code, $type, $body, @more) = answer($request);
    push @more, 'Retry-After: 5' if $code == 503;
    push @more, "Content-Type: $type", 'Content-Length: ' . length $body unless $code == 204;
    $body = '' if $request =~ /^HEAD /;
    syswrite $client, join "\r\n", "HTTP/1.1 $code -", 'Cache-Control: no-store', 'Connection: close', @more, '', $body;
    shutdown $client, 1; 1 while sysread $client, $request, 4096;
    POSIX::_exit(0);
}

begin();
while (1) {
    my ($ready, $pid) = '';
    vec($ready, fileno $_, 1) = 1 for grep { $_ } $woken, $out, $listen;
    select $ready, undef, undef, $deadline ? 1 : undef;
    sysread $woken, my $signs, 4096;
    pump();
    serve() if $listen;
    while (($pid = waitpid -1, POSIX::WNOHANG()) > 0) { delete $answering{$pid}; ended($?) if $child && $pid == $child }
    begin('stop') if $deadline && time > $deadline && !$child;
}
PERL
}

serve_with_python() { program=$1; shift; exec "$program" - "$@" << 'PYTHON'
import errno, html, os, re, select, signal, socket, sys, time

template, log_path, end, port = (os.environ.pop("KINOKIT_PAGE_" + name, "") for name in ("HTML", "LOG", "END", "PORT"))
port, given = int(port), os.environ.get
limit = given("KINOKIT_FAILED_MINUTES") or given("KINOKIT_IDLE_STOP_MINUTES") or ""
secrets = [value for name, value in os.environ.items() if len(value) > 5
           and re.search("TOKEN|SECRET|PASSWORD|_KEY$", name) and "PUBLIC_KEY" not in name]
began, most_log_bytes = time.time(), 8 << 20
listen = out = log = child = handed_at = deadline = None
stops = stopping = failed = False
step, problem, fix, pending, tail, answering = "Starting", "", "", b"", [], set()
os.umask(0o077)
woken, wake = os.pipe()
os.set_blocking(woken, False), os.set_blocking(wake, False)

def woke(*_): pass

def taken(*_):
    global listen, handed_at
    if listen: listen.close()
    listen, handed_at = None, time.time()

def retry(*_):
    if failed and not child: begin()

def told(number, _):
    global stopping
    stopping = True
    if not child: os._exit(1)
    os.kill(child, number) if handed_at else os.killpg(child, signal.SIGTERM)

def bound():
    global listen
    try:
        found = socket.getaddrinfo(given("KINOKIT_HOST") or "0.0.0.0", port, type=socket.SOCK_STREAM)[0]
        new = socket.socket(found[0], socket.SOCK_STREAM)
        new.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if found[0] == socket.AF_INET6: new.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        for left in reversed(range(30)):  # a page before this one may be about to end
            try: new.bind(found[4]); break
            except OSError as error:
                if not left or error.errno != errno.EADDRINUSE: raise
                time.sleep(0.1)
        new.listen(socket.SOMAXCONN), new.setblocking(False)
        listen = new
    except OSError as error: note("no page at port %d: %s" % (port, error.strerror))

def begin(stop=False):
    global stops, failed, deadline, handed_at, step, problem, fix, out, child
    stops, failed, deadline, handed_at = stop, stop, None, None
    if not stops: step, problem, fix = "Starting", "", ""
    if not listen: bound()
    out, into = os.pipe()
    os.set_blocking(out, False)
    child = os.fork()
    if child: return os.close(into)
    for number in handlers: signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.setpgid(0, 0), os.umask(0o022)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0), os.dup2(into, 1), os.dup2(into, 2)
    os.environ.update(KINOKIT_PAGE_PID=str(os.getppid()), KINOKIT_START_STOP="1" if stops else "", KINOKIT_LISTEN_FD="")
    if listen: os.set_inheritable(listen.fileno(), True), os.environ.update(KINOKIT_LISTEN_FD=str(listen.fileno()))
    os.execvp(sys.argv[1], sys.argv[1:])

def ended(status):
    global child, stops, failed, problem, fix, deadline
    code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    child = None
    pump()
    if stopping or not stops and (not code or limit == "0"): os._exit(code)
    if stops: stops = False; return
    if handed_at and time.time() - handed_at > 60: return begin()  # a service that ran is started again
    failed, problem = True, problem or "the start ended with exit code %d" % code
    fix = fix or "the lines below say what went before"
    if not listen: bound()
    if number(limit): deadline = time.time() + 60 * float(limit)
    note("the page with this error stays at port %d; %s To end it: %s" % (port, cost(), end))

def pump():
    global out, pending
    for _ in range(64):
        try: data = os.read(out, 65536) if out else None
        except BlockingIOError: return
        if data is None: return
        if not data: os.close(out); out = None; data = b"\n" if pending else b""
        *lines, pending = (pending + data).split(b"\n")
        if len(pending) > 65000: lines, pending = lines + [pending], b""
        for each in lines: line(each.decode("utf-8", "replace"))

def line(text):
    global problem, fix, step, log, log_path
    cleaned = clean(text)
    tail.append(cleaned); del tail[:-40]
    mark, kind, words = re.match(r"(\[kinokit [\d:]+\] )?(error: |  fix: |)(.*)", cleaned, re.S).groups()
    if kind == "error: ": problem, fix = words, ""
    elif kind: fix = fix or words
    elif mark: step = words
    if not handed_at: text = cleaned  # the agent says its link with the token here, once; it is careful itself
    data = (text + "\n").encode()
    try: os.write(1, data)
    except OSError: pass
    if not log_path: return
    try:
        log = log or open(log_path, "ab", 0)
        log.write(data)
        if log.tell() > most_log_bytes: log.close(); log = None; os.rename(log_path, log_path + ".1")
    except OSError: log_path = ""

def note(text): line(time.strftime("[kinokit %H:%M:%S] ", time.gmtime()) + text)

def clean(text):
    text = re.sub(r"([?&]token=)[^&\s]+", r"\1***", text)
    text = re.sub(r"\bhf_\w{8,}", "hf_***", re.sub(r"//[^/@\s]*@", "//***@", text))
    for secret in secrets: text = text.replace(secret, "***")
    return text

def number(text): return re.match(r"[0-9.]+$", text)

def cost():
    hourly = given("KINOKIT_HOURLY_COST") or ""
    if not number(hourly): return "A rented machine costs money while it waits."
    spent = float(hourly) * (time.time() - began) / 3600
    return "It costs %.2f USD an hour: %.2f USD since %s." % (float(hourly), spent, clock(began))

def clock(at): return time.strftime("%H:%M UTC", time.gmtime(at))

def page():
    words = dict(title="kinokit is starting", cost=cost(), what=step, log="\n".join(tail))
    if failed:
        words.update(title="kinokit could not start", what=problem, cost=words["cost"] + " To end it: " + end + ".")
        if deadline: words["cost"] += " It is asked to stop by itself at %s." % clock(deadline)
    words = {name: html.escape(value, quote=False) for name, value in words.items()}
    button = "<form method=post action=retry><button>Try again</button></form>"
    words["remedy"] = "<p>%s</p>%s" % (html.escape(fix), button) if failed else ""
    return re.sub("@(title|what|remedy|cost|log)@", lambda found: words[found.group(1)], template)

def answer(request):
    found = re.match(r"(\w+) ([^ ?]*)", request)
    if not found: return 400, "text/plain", ""
    verb, path = found.groups()
    state = "failed" if failed else "starting"
    if path == "/healthz": return 200, "application/json", '{"status":"ok"}'
    if path == "/ping": return 500 if failed else 204, "text/plain", ""
    if path == "/readyz": return 503, "application/json", '{"state":"%s","phase":"install","progress":null}' % state
    if path == "/" and verb != "POST": return 200, "text/html; charset=utf-8", page(), "X-Kinokit-Boot: 1"
    if path == "/retry" and verb == "POST":
        os.kill(os.getppid(), signal.SIGUSR2)
        return 303, "text/plain", "", "Location: ./"
    return 503, "application/json", ('{"error":{"message":"kinokit is still being installed","type":"server_error",'
        '"param":null,"code":"%s","fix":"open the page at /, or try again in a while"}}' % state)

def serve():
    try: client, _ = listen.accept()
    except OSError: return
    if len(answering) > 60: return client.close()
    pid = os.fork()
    if pid: answering.add(pid); return client.close()
    try:
        for number in handlers: signal.signal(number, signal.SIG_DFL)
        signal.alarm(10); listen.close(); client.setblocking(True)
        request = b""
        while not re.search(b"\r?\n\r?\n", request) and len(request) < 16384:
            data = client.recv(4096)
            if not data: break
            request += data
        code, kind, body, *more = answer(request.decode("latin-1"))
        body = body.encode()
        if code == 503: more.append("Retry-After: 5")
        if code != 204: more += ["Content-Type: " + kind, "Content-Length: %d" % len(body)]
        head = ["HTTP/1.1 %d -" % code, "Cache-Control: no-store", "Connection: close"] + more + ["", ""]
        client.sendall("\r\n".join(head).encode() + (b"" if request.startswith(b"HEAD ") else body))
        client.shutdown(socket.SHUT_WR)
        while client.recv(4096): pass
    finally: os._exit(0)

handlers = {signal.SIGCHLD: woke, signal.SIGUSR1: taken, signal.SIGUSR2: retry,
            signal.SIGTERM: told, signal.SIGINT: told, signal.SIGHUP: told}
for number_, handler in handlers.items(): signal.signal(number_, handler)
signal.set_wakeup_fd(wake)
begin()
while True:
    wanted = [each for each in (woken, out, listen) if each is not None]
    try: select.select(wanted, [], [], 1 if deadline else None)
    except (OSError, ValueError): pass  # the port was handed over meanwhile
    try: os.read(woken, 4096)
    except BlockingIOError: pass
    pump()
    if listen: serve()
    while True:
        try: pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError: break
        if not pid: break
        answering.discard(pid)
        if pid == child: ended(status)
    if deadline and time.time() > deadline and not child: begin(stop=True)
PYTHON
}

missing_page="" # why there is none
if [ "${KINOKIT_PAGE_PID:-}" != "$PPID" ]; then
    KINOKIT_PAGE_HTML=$(page_html) KINOKIT_PAGE_LOG="" KINOKIT_PAGE_END=$(how_to_end "$platform")
    KINOKIT_PAGE_PORT=$(port_number)
    if [ -w "$data/logs" ]; then KINOKIT_PAGE_LOG="$data/logs/start.log"; fi
    export KINOKIT_PAGE_HTML KINOKIT_PAGE_LOG KINOKIT_PAGE_END KINOKIT_PAGE_PORT
    if [ ! -f "$0" ]; then missing_page="this script is no file: save it and run it by its name"
    elif perl -MSocket -MPOSIX -MFcntl -e 1 2> /dev/null; then serve_with_perl sh "$0" "$@"
    elif python3 -c 'import select, html' 2> /dev/null; then serve_with_python python3 sh "$0" "$@"
    else missing_page="neither perl nor Python is here"; fi
    unset KINOKIT_PAGE_HTML KINOKIT_PAGE_LOG KINOKIT_PAGE_END KINOKIT_PAGE_PORT KINOKIT_LISTEN_FD
fi

# -- the work --------------------------------------------------------------------------------------------------------

source_="${KINOKIT_SOURCE:-kinokit}"
# A token in a URL must not reach the log.
say "start: source $(printf '%s' "$source_" | sed 's#//[^/@]*@#//***@#'), data in $data"
if [ -n "$missing_page" ]; then say "no page before the agent's: $missing_page"; fi
if [ -n "${KINOKIT_PAGE_NOTE:-}" ]; then say "$KINOKIT_PAGE_NOTE; files go to $data and are lost with this container"; fi
writable "$data/logs" || die "$data cannot be written to" "mount a volume and set KINOKIT_DATA_DIR to it"
home="${KINOKIT_HOME:-/opt/kinokit}"
if ! writable "$home"; then
    say "$home cannot be written to: the programs go to $data/programs"
    home="$data/programs"
    mkdir -p "$home"
fi
if [ ! -w "${TMPDIR:-/tmp}" ]; then
    export TMPDIR="$data/tmp"
    mkdir -p "$TMPDIR"
fi

apt_install() {
    command -v apt-get > /dev/null || die "$* is missing and this image has no apt-get" "use a Debian or Ubuntu image"
    [ "$(id -u)" = 0 ] || die "$* is missing and this user may not install it" "run as root, or use an image that has it"
    [ -w /usr ] || die "$* is missing and this container's root is read-only" "use an image that has it, or a root that can be written"
    say "installing $*"
    if [ -z "${apt_updated:-}" ]; then apt-get update -qq || die "apt-get update failed" "check the network of this host"; apt_updated=1; fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" > /dev/null \
        || die "apt-get could not install $*" "read the lines above; another host or image may help"
}

usable() { # a Python that is new enough and can make virtual environments
    command -v "$1" > /dev/null 2>&1 \
        && "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1
}
find_python() {
    for candidate in python3 python python3.13 python3.12 python3.11; do
        if usable "$candidate"; then python=$candidate; return 0; fi
    done
    return 1
}
if [ ! -x "$home/venv/bin/pip" ]; then
    if ! find_python; then
        apt_install python3 python3-venv
        find_python || { apt_install python3.11 python3.11-venv; find_python; } \
            || die "no Python 3.11 or newer could be had here" "use Debian 12, Ubuntu 22.04 or newer, or a pytorch image"
    fi
    [ -d /etc/ssl/certs ] || apt_install ca-certificates
    say "making a virtual environment with $("$python" --version 2>&1)"
    # An image that already holds a torch (pytorch/pytorch) saves three gigabytes: its packages stay visible.
    site=""
    if "$python" -c 'from importlib.metadata import version; version("torch")' 2> /dev/null; then site=--system-site-packages; fi
    rm -rf "$home/venv"
    "$python" -m venv $site "$home/venv" || die "cannot make a virtual environment in $home" "is the disk full?"
fi
bin="$home/venv/bin"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CACHE_DIR="${PIP_CACHE_DIR:-$data/cache/pip}"
export PIP_ROOT_USER_ACTION=ignore UV_SYSTEM_CERTS=true UV_CACHE_DIR="${UV_CACHE_DIR:-$data/cache/uv}" UV_LINK_MODE=copy

# A git URL or a checkout: the code is used where it lies. A wheel or a name: pip brings it.
code=""
case "$source_" in
    *.whl) package="$source_" ;;
    git+*|*.git|*.git@*|git@*)
        command -v git > /dev/null || apt_install git
        url="${source_#git+}"; ref=""
        case "$url" in *.git@*) ref="${url##*.git@}"; url="${url%@"$ref"}" ;; esac
        code="$home/code"
        # A clone takes no commit by its number; a fetch takes branches, tags and commits.
        if [ ! -d "$code/.git" ]; then git init -q "$code"; fi
        if git -C "$code" fetch -q --depth 1 "$url" "${ref:-HEAD}"; then git -C "$code" reset -q --hard FETCH_HEAD
        elif [ -f "$code/pyproject.toml" ]; then say "cannot update $code; using what is there"
        else die "cannot fetch ${ref:-the newest commit} of the kit's repository" \
            "check KINOKIT_SOURCE and the network of this host"; fi ;;
    /*|./*) code="$source_"; [ -f "$code/pyproject.toml" ] || die "no pyproject.toml in $code" "check KINOKIT_SOURCE" ;;
    *) package="$source_" ;;
esac

site_packages() { "$bin/python" -c 'import site; print(site.getsitepackages()[0])'; }
install_core() { # what $1/requirements/core.txt pins, checked by its hashes
    say "installing the thin core"
    # uv fetches side by side what pip fetches one after the other; where it cannot be had, pip does it.
    "$bin/pip" install -q --no-compile -r "$1/requirements/uv.txt" || say "no uv here; pip does the work, more slowly"
    "$bin/uv" pip install -q --python "$bin/python" --no-deps -r "$1/requirements/core.txt" \
        || "$bin/pip" install -q --no-deps --no-compile -r "$1/requirements/core.txt" \
        || die "the core packages could not be installed" "check the network of this host; the lines above say what failed"
}
if [ -n "$code" ]; then
    sum=$(cksum < "$code/requirements/core.txt")
    if [ "$(cat "$home/core.sum" 2> /dev/null)" != "$sum" ]; then
        install_core "$code"
        echo "$sum" > "$home/core.sum"
    fi
    echo "$code" > "$(site_packages)/kinokit.pth"
    printf '#!%s\nfrom services.cli import main\nmain()\n' "$bin/python" > "$bin/kinokit"
    chmod 755 "$bin/kinokit"
elif [ "$(cat "$home/core.sum" 2> /dev/null)" != "$package" ]; then
    say "installing $package"
    "$bin/pip" install -q --no-compile --no-deps --upgrade "$package" \
        || die "cannot install $package" "check KINOKIT_SOURCE and the network"
    install_core "$(site_packages)"
    echo "$package" > "$home/core.sum"
fi

ssh_for_the_key() { # what the marketplace's port 22 is for; the kit does not wait for it, and goes on without it
    die() { say "no ssh: $1; $2"; exit 0; }
    if [ "$(id -u)" != 0 ]; then die "sshd needs root" "use the marketplace's own terminal"; fi
    sshd=$(command -v sshd || echo /usr/sbin/sshd)
    if [ ! -x "$sshd" ]; then
        sleep 15 # the agent starts meanwhile
        apt_install openssh-server
    fi
    umask 077
    mkdir -p /run/sshd "${HOME:-/root}/.ssh" || die "no place for keys" "is the root read-only?"
    keys="${HOME:-/root}/.ssh/authorized_keys"
    grep -qxF "$1" "$keys" 2> /dev/null || printf '%s\n' "$1" >> "$keys" || die "no place for the key" "is it read-only?"
    ssh-keygen -A > /dev/null || die "no host keys" "is the root read-only?"
    "$sshd" -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no -o PermitRootLogin=prohibit-password \
        || die "sshd does not start" "the marketplace may run its own at port 22"
    say "ssh answers at port 22 to the key that was given"
}
key="${PUBLIC_KEY:-${SSH_PUBLIC_KEY:-}}"
# On a machine of one's own a key in the environment is no wish to open a port.
if [ -n "$key" ] && { [ "$platform" != own ] || [ -e /.dockerenv ]; }; then ssh_for_the_key "$key" & fi

say "starting the agent"
[ "${KINOKIT_START_ONLY_INSTALL:-}" = 1 ] && exit 0
exec "$bin/kinokit" up "$@"
