/*
 * loadgen - both ends of a voice bridge in one single-threaded process: Twilio's media streams
 * (twilio.h), the Realtime API (model.h) and a tool server (tools.h).
 *
 * Because all of them have one clock, the time that anything spends inside the system under test
 * (SUT) is measured directly, one leg at a time:
 *
 *   up     media frame written to the SUT  -> its audio read at the model
 *   down   audio delta written to the SUT  -> its media message read at Twilio's end
 *   turn   up of the last frame before the caller's speech ended + down of the answer's first
 *          delta; the model's own time to think lies between and is not counted
 *   tool   function call written -> request whole at the tool server, and its answer written ->
 *          response.create read; the tool server's own time is not counted
 *   first  webhook sent -> first audio at Twilio's end, without our own time to dial
 *
 * Every 20 ms frame carries a 12-byte marker (kind, call, number, check) followed by pool audio,
 * so that loss, duplication, reordering and corruption are all seen however audio is re-chunked.
 *
 * Calls are started by lines on stdin; times are those of CLOCK_MONOTONIC in ns, 0: no webhook.
 *   CALL \t callSid \t path \t customParameters-JSON \t header|header \t webhook-ns \t answer-ns
 * Progress and the result are JSON lines on stdout.
 */
#include "load.h"
#include "twilio.h"
#include "model.h"
#include "tools.h"

static void accept_all(Conn *l) {
    for (int i = 0; i < 16; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK), on = 1;
        if (fd < 0) return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (l->kind == C_LISTEN_MODEL) {
            Model *u = calloc(1, sizeof *u);
            u->c = conn_new(fd, C_MODEL, false, ST_HANDSHAKE, EPOLLIN);
            u->c->user = u;
        } else {
            Visit *v = calloc(1, sizeof *v);
            v->c = conn_new(fd, C_TOOLS, false, ST_OPEN, EPOLLIN);
            v->c->user = v;
        }
    }
}

/* ------------------------------------------------------------------ stdin */
static Buf sin_buf; static uint64_t last_line; static bool stdin_over;
static void call_line(char *line) {
    char *f[7] = {0};
    int nf = 0;
    for (char *t = line; t && nf < 7; ) { f[nf++] = t; t = strchr(t, '\t'); if (t) *t++ = 0; }
    if (nf < 7 || strcmp(f[0], "CALL") || ncalls >= O.calls) return;
    Call *k = &calls[ncalls];
    k->idx = ncalls++;
    snprintf(k->call_sid, sizeof k->call_sid, "%s", f[1]);
    snprintf(k->sid, sizeof k->sid, "MZ%08x%024x", (unsigned)rng(), k->idx);
    k->path = strdup(f[2]);
    k->params = strdup(f[3][0] ? f[3] : "{}");
    Buf b = {0};
    for (char *q = f[4]; *q; ) {
        size_t w = strcspn(q, "|");
        buf_put(&b, q, w); buf_put(&b, "\r\n", 2);
        q += w + (q[w] == '|');
    }
    buf_put(&b, "", 1);
    k->headers = b.p;
    k->t_webhook = strtoull(f[5], NULL, 10);
    k->t_answer = strtoull(f[6], NULL, 10);
    k->t_sent = calloc(RING, sizeof *k->t_sent);
    k->agent = calloc(RING, sizeof *k->agent);
    k->w0 = k->w1 = k->aw0 = k->aw1 = NEVER;
    tw_dial(k);
}
static void stdin_readable(Conn *c) {
    buf_room(&sin_buf, 65536);
    ssize_t n = read(c->fd, sin_buf.p + sin_buf.len, 65536);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) { epoll_ctl(EP, EPOLL_CTL_DEL, c->fd, NULL); stdin_over = true; return; }
    sin_buf.len += (size_t)n;
    char *e;
    while ((e = memchr(sin_buf.p + sin_buf.off, '\n', sin_buf.len - sin_buf.off))) {
        *e = 0;
        call_line(sin_buf.p + sin_buf.off);
        sin_buf.off = (size_t)(e - sin_buf.p) + 1;
    }
    last_line = now_ns();
}

/* ----------------------------------------------------------------- phases */
static double cpu_s(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}
static uint64_t phase_at, window_at; static double cpu0, cpu_used, window_s; static int ramped;

static void hist_json(const char *name, const Hist *h) {
    printf("\"%s\":{\"n\":%llu,\"mean\":%.3f,\"p50\":%.3f,\"p95\":%.3f,\"p99\":%.3f,\"max\":%.3f},", name,
           (unsigned long long)h->n, h->n ? h->sum / (double)h->n / 1e6 : -1, h_q(h, .5), h_q(h, .95), h_q(h, .99),
           (double)h->max / 1e6);
}
static void result(void) {
    uint64_t sent = 0, asent = 0, never = 0;
    for (int i = 0; i < ncalls; i++) {
        Call *k = &calls[i];
        if (k->w1 != NEVER) { sent += k->w1 - k->w0; asent += k->aw1 - k->aw0; }
        if (!k->up_seen) never++;
    }
    printf("{\"ev\":\"result\",\"calls\":%d,\"window_s\":%.3f,\"harness_cpu_s\":%.3f,", O.calls, window_s, cpu_used);
    hist_json("first_word_ms", &H_first); hist_json("turn_ms", &H_turn); hist_json("added_ms", &H_added);
    hist_json("up_ms", &H_up); hist_json("down_ms", &H_down); hist_json("tool_ms", &H_tool);
    hist_json("tool_out_ms", &H_tool_out); hist_json("tool_back_ms", &H_tool_back);
    hist_json("model_ready_ms", &H_model_ready); hist_json("pacing_ms", &H_pacing);
#define P(name, x) printf("\"%s\":%lld,", name, (long long)(x))
    P("failed", N.failed); P("dropped", N.dropped); P("never_bridged", never);
    P("up_sent", sent); P("up_recv", N.up_recv); P("up_lost", (long long)sent - (long long)N.up_recv); P("up_late", N.late_up);
    P("down_sent", asent); P("down_recv", N.down_recv); P("down_lost", (long long)asent - (long long)N.down_recv); P("down_late", N.late_down);
    P("corrupt", N.corrupt); P("reordered", N.up_dup + N.down_dup); P("foreign_bytes", N.foreign_bytes);
    P("tools_asked", N.tools_asked); P("tools_got", N.tools_got); P("tools_done", N.tools_done); P("tools_doubled", N.tools_doubled);
    P("tools_unknown", N.tools_unknown + N.tools_late);
    P("append_msgs", N.append_msgs); P("delta_msgs", N.delta_msgs); P("media_msgs", N.media_msgs);
    P("marks_in", N.marks_in); P("marks_out", N.marks_out); P("clears", N.clears); P("truncates", N.truncates); P("cancels", N.cancels);
    P("responses_in_vain", N.busy); P("answers", N.answers); P("bad_json", N.bad_json); P("bad_stream_sid", N.bad_sid);
    P("other_to_twilio", N.other_twilio); P("other_to_model", N.other_model); P("sessions", N.sessions); P("sessions_without_key", N.no_auth);
    printf("\"sessions_left_open\":%llu}\n", (unsigned long long)N.open);
    fflush(stdout);
}
static void enter(int next, uint64_t now, const char *name) {
    phase = next; phase_at = now;
    if (name) out_json("{\"ev\":\"%s\",\"up\":%d}", name, ramped);
}
static void phase_tick(uint64_t now) {
    double in_phase_s = (double)(now - phase_at) / 1e9;
    if (phase == P_RAMP) {
        if (stdin_over && ncalls < O.calls) exit(3); /* the runner is gone */
        if (ncalls < O.calls) return;
        /* ready when every call has had one whole answer: the opening is over then */
        int bad = 0, up = 0;
        for (int i = 0; i < ncalls; i++) {
            Call *k = &calls[i];
            up += k->model && k->aseq >= (uint32_t)O.agent_ms / 20;
            bad += k->failed;
        }
        ramped = up;
        if (up + bad < O.calls && (double)(now - last_line) / 1e9 < O.ramp_limit_s) return;
        enter(P_SETTLE, now, "ramped");
    } else if (phase == P_SETTLE && in_phase_s >= O.settle_s) {
        window_at = now; cpu0 = cpu_s();
        for (int i = 0; i < ncalls; i++) { calls[i].w0 = calls[i].seq; calls[i].aw0 = calls[i].aseq; }
        enter(P_WINDOW, now, "window_start");
    } else if (phase == P_WINDOW && in_phase_s >= O.win_s) {
        cpu_used = cpu_s() - cpu0; window_s = (double)(now - window_at) / 1e9;
        for (int i = 0; i < ncalls; i++) { calls[i].w1 = calls[i].seq; calls[i].aw1 = calls[i].aseq; }
        enter(P_DRAIN, now, "window_end");
    } else if (phase == P_DRAIN && in_phase_s >= O.drain_s) {
        enter(P_STOPPING, now, NULL);
        for (int i = 0; i < ncalls; i++) if (calls[i].streaming) tw_stop(&calls[i]);
    } else if (phase == P_STOPPING && (in_phase_s >= 5 || N.open == 0)) {
        result();
        phase = P_DONE;
    }
}
static void on_timer(Timer t) {
    if (t.kind == T_FRAME) tw_tick(t.p);
    else if (t.kind == T_TOOL) tools_answer(t.p);
    else {
        Model *u = t.p;
        if (t.stamp != u->timer || u->c->state != ST_OPEN || phase >= P_STOPPING) return;
        model_step(u);
        model_flush(u);
    }
}
static void on_event(Conn *c, uint32_t events) {
    if (c->kind == C_LISTEN_MODEL || c->kind == C_LISTEN_TOOLS) { accept_all(c); return; }
    if (c->kind == C_STDIN) { stdin_readable(c); return; }
    if (events & EPOLLOUT) {
        if (c->kind == C_TWILIO && c->state == ST_CONNECTING) {
            Call *k = c->user;
            int err = 0; socklen_t el = sizeof err;
            getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &el);
            if (err) { call_drop(k, false); return; }
            ws_request(c, k->path, O.host, k->headers);
            tw_flush(k);
            return;
        }
        if (c->kind == C_TWILIO) tw_flush(c->user);
        else if (c->kind == C_MODEL) model_flush(c->user);
        else if (!conn_flush(c)) conn_close(c);
        if (c->state == ST_CLOSED) return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        if (c->kind == C_TWILIO) tw_readable(c->user);
        else if (c->kind == C_MODEL) model_readable(c->user);
        else tools_readable(c->user);
    }
}
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
#define OPT(name, stmt) else if (!strcmp(a, name)) { stmt; i++; }
        if (!strcmp(a, "--with-tools")) O.with_tools = 1;
        OPT("--sut-port", O.sut_port = atoi(v)) OPT("--model-port", O.model_port = atoi(v)) OPT("--tools-port", O.tools_port = atoi(v))
        OPT("--calls", O.calls = atoi(v)) OPT("--host", O.host = v) OPT("--account", O.account = v) OPT("--settle", O.settle_s = atof(v)) OPT("--seconds", O.win_s = atof(v))
        OPT("--drain", O.drain_s = atof(v)) OPT("--ramp-limit", O.ramp_limit_s = atof(v)) OPT("--tool-ms", O.tool_ms = atoi(v))
        OPT("--cycle-ms", O.cycle_ms = atoi(v)) OPT("--caller-ms", O.caller_ms = atoi(v)) OPT("--agent-ms", O.agent_ms = atoi(v))
        else { fprintf(stderr, "unknown option %s\n", a); return 2; }
    }
    if (O.calls < 1 || !O.sut_port || !O.model_port) { fprintf(stderr, "--calls, --sut-port and --model-port are needed\n"); return 2; }
    signal(SIGPIPE, SIG_IGN);
    b64_init();
    rng_state ^= now_ns();
    EV = malloc(evcap);
    pool_init();
    Hist *all[] = {&H_added, &H_up, &H_down, &H_turn, &H_tool_out, &H_tool_back, &H_tool, &H_first, &H_model_ready, &H_pacing};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) h_init(all[i]);
    calls = calloc((size_t)O.calls, sizeof *calls);
    EP = epoll_create1(0);
    conn_new(tcp_listen(O.model_port), C_LISTEN_MODEL, false, ST_OPEN, EPOLLIN);
    if (O.tools_port) conn_new(tcp_listen(O.tools_port), C_LISTEN_TOOLS, false, ST_OPEN, EPOLLIN);
    conn_new(0, C_STDIN, false, ST_OPEN, EPOLLIN);
    char host[64];
    if (!O.host) { snprintf(host, sizeof host, "127.0.0.1:%d", O.sut_port); O.host = host; }
    out_json("{\"ev\":\"ready\"}");
    last_line = phase_at = now_ns();

    uint64_t next_phase = 0;
    while (phase < P_DONE) {
        uint64_t now = now_ns();
        if (now >= next_phase) { phase_tick(now); next_phase = now + 20 * MS; }
        int burst = 0;
        while (hn && heap[0].due <= now && burst++ < 64) {
            on_timer(t_pop());
            now = now_ns();
        }
        uint64_t until = hn && heap[0].due < next_phase ? heap[0].due : next_phase;
        uint64_t wait = until > now ? until - now : 0;
        struct timespec ts = {(time_t)(wait / 1000000000ull), (long)(wait % 1000000000ull)};
        struct epoll_event e[32];
        int n = epoll_pwait2(EP, e, 32, &ts, NULL);
        for (int i = 0; i < n; i++) {
            Conn *c = e[i].data.ptr;
            if (c->state != ST_CLOSED) on_event(c, e[i].events);
        }
    }
    return 0;
}
