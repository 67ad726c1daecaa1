# The page of a box whose start script is not there yet. `perl page.pl PORT ADDRESS` binds the port and goes on in the
# background; page.pid names it, page.log holds the last errors, failed is there once it did not work.
# `perl page.pl stop` ends it: a bare Debian has no kill.
use strict; use IO::Socket::INET;
if ($ARGV[0] eq 'stop') { open my $file, '<', 'page.pid' or exit; kill 9, <$file>; select undef, undef, undef, 0.1; exit }
my ($port, $script) = @ARGV;
$port = $ENV{KINOKIT_PORT} if ($ENV{KINOKIT_PORT} || '') =~ /^\d+$/;
$SIG{PIPE} = 'IGNORE';
my $listen = IO::Socket::INET->new(LocalAddr => $ENV{KINOKIT_HOST} || '0.0.0.0', LocalPort => $port, Listen => 64, ReuseAddr => 1) or exit;
if (my $pid = fork) { open my $file, '>', 'page.pid'; print $file $pid; exit }
while (1) {
    my $client = $listen->accept or next;
    my ($ready, $request) = ('', '');
    vec($ready, fileno $client, 1) = 1;
    sysread $client, $request, 4096 if select $ready, undef, undef, 2;
    my ($path) = $request =~ /^\w+ ([^ ?]*)/;
    my ($code, $type, $body) = answer($path || '/');
    syswrite $client, "HTTP/1.0 $code -\r\nContent-Type: $type\r\nContent-Length: " . length($body)
        . "\r\nCache-Control: no-store\r\nRetry-After: 5\r\nConnection: close\r\n\r\n$body";
    close $client;
}
sub answer {
    my ($path) = @_; my $failed = -e 'failed';
    my ($state, $title) = $failed ? ('failed', 'kinokit has no start script') : ('starting', 'kinokit is starting');
    return (200, 'application/json', '{"status":"ok"}') if $path eq '/healthz';
    return ($failed ? 500 : 204, 'text/plain', '') if $path eq '/ping';
    return (503, 'application/json', qq({"state":"$state","phase":"script","progress":null})) if $path ne '/';
    open my $file, '<', 'page.log'; my $log = $file ? join '', <$file> : '';
    $log = substr $log, -3000 if length $log > 3000;
    $log =~ s/&/&amp;/g; $log =~ s/</&lt;/g;
    my $what = $failed ? "It cannot be fetched, and is tried again every 10 seconds. Open its address in a browser: if"
        . " it is not there, publish it (docs/publishing.md) and print the line again with kinokit startup. Where a digest"
        . " stands below, the address gives another file than the one that the line was made for." : 'The start script is being fetched.';
    return (200, 'text/html; charset=utf-8', "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=3>"
        . "<title>$title</title><h1>$title</h1><p>$what<p>$script<pre>$log</pre>"
        . "<p>A rented machine costs money while it waits; it ends on the marketplace's site.");
}
