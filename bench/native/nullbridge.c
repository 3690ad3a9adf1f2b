/*
 * nullbridge - the least a Twilio <-> Realtime bridge can do: one epoll loop, no
 * JSON objects, the audio payload spliced from one message into the other. It is
 * not a product; it shows what the machine and the harness can carry at most, so
 * that a result can be read as a share of the possible.
 *
 *   nullbridge --port P --up-port U [--drop-every N]
 *
 * --drop-every loses each Nth frame of the caller: a judge that does not see it is none.
 */
#include "ws.h"

enum { B_LISTEN = 1, B_TWILIO, B_UP };
typedef struct Pair { Conn *tw, *up; char sid[64]; } Pair;

static int port, up_port;
static unsigned drop_every, frames;
static const char *const up_path = "/v1/realtime?model=gpt-realtime";
static const char SESSION[] =
    "{\"type\":\"session.update\",\"session\":{\"type\":\"realtime\",\"audio\":{\"input\":{\"format\":{\"type\":\"audio/pcmu\"}},"
    "\"output\":{\"format\":{\"type\":\"audio/pcmu\"}}}}}";

static void pair_end(Pair *p) {
    if (p->tw) conn_close(p->tw);
    if (p->up) conn_close(p->up);
}
static void flush(Pair *p, Conn *c) { if (!conn_flush(c)) pair_end(p); }

static void from_twilio(Pair *p, char *d, size_t n) {
    const char *v, *x; size_t vn, xn;
    char m[65536 + 128];
    if (!jget(d, n, "event", &v, &vn)) return;
    if (span_is(v, vn, "media") && p->up && p->up->state == ST_OPEN) {
        if (drop_every && ++frames % drop_every == 0) return;
        if (!jget(d, n, "media", &x, &xn) || !jget(x, xn, "payload", &v, &vn) || vn > 65536) return;
        static const char h[] = "{\"type\":\"input_audio_buffer.append\",\"audio\":\"";
        memcpy(m, h, sizeof h - 1);
        memcpy(m + sizeof h - 1, v, vn);
        memcpy(m + sizeof h - 1 + vn, "\"}", 2);
        ws_put(p->up, 1, m, sizeof h - 1 + vn + 2);
    } else if (span_is(v, vn, "start") && jget(d, n, "streamSid", &x, &xn) && xn < sizeof p->sid) {
        memcpy(p->sid, x, xn);
        int fd = tcp_connect(up_port);
        if (fd < 0) return;
        p->up = conn_new(fd, B_UP, true, ST_CONNECTING, EPOLLIN | EPOLLOUT);
        p->up->user = p;
    }
}
static void from_model(Pair *p, char *d, size_t n) {
    static char *m; static size_t cap;
    const char *v; size_t vn;
    if (!jget(d, n, "type", &v, &vn)) return;
    if (!span_is(v, vn, "response.output_audio.delta")) return;
    if (!jget(d, n, "delta", &v, &vn)) return;
    if (cap < vn + 256) m = realloc(m, cap = vn * 2 + 256);
    int k = sprintf(m, "{\"event\":\"media\",\"streamSid\":\"%s\",\"media\":{\"payload\":\"", p->sid);
    memcpy(m + k, v, vn);
    memcpy(m + k + vn, "\"}}", 3);
    ws_put(p->tw, 1, m, (size_t)k + vn + 3);
}
static void readable(Pair *p, Conn *c) {
    int r = conn_fill(c), op; char *d; size_t n, used;
    if (r < 0) { pair_end(p); return; }
    if (c->state == ST_HANDSHAKE) {
        char *h = http_head(c, &used), key[64];
        if (!h) return;
        if (c->kind == B_TWILIO) {
            if (!http_header(h, "Sec-WebSocket-Key", key, sizeof key)) { pair_end(p); return; }
            c->in.off += used;
            ws_accept(c, key);
            flush(p, c);
        } else {
            if (strncmp(h, "HTTP/1.1 101", 12)) { pair_end(p); return; }
            c->in.off += used;
            c->state = ST_OPEN;
            ws_put(c, 1, SESSION, sizeof SESSION - 1);
            flush(p, c);
        }
    }
    while (c->state == ST_OPEN && (r = ws_next(c, &op, &d, &n)) == 1) {
        if (op == 1) { if (c->kind == B_TWILIO) from_twilio(p, d, n); else from_model(p, d, n); }
        else if (op == 9) ws_put(c, 10, d, n);
        else if (op == 8) { pair_end(p); return; }
    }
    if (c->state == ST_OPEN && r < 0) { pair_end(p); return; }
    if (p->up && p->up->state == ST_OPEN && p->up->out.len > p->up->out.off) flush(p, p->up);
    if (p->tw->state == ST_OPEN && p->tw->out.len > p->tw->out.off) flush(p, p->tw);
}
int main(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--port")) port = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--up-port")) up_port = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--drop-every")) drop_every = (unsigned)atoi(argv[i + 1]);
    }
    signal(SIGPIPE, SIG_IGN);
    b64_init();
    EP = epoll_create1(0);
    conn_new(tcp_listen(port), B_LISTEN, false, ST_OPEN, EPOLLIN);
    for (;;) {
        struct epoll_event e[64];
        int n = epoll_wait(EP, e, 64, -1);
        for (int i = 0; i < n; i++) {
            Conn *c = e[i].data.ptr;
            if (c->state == ST_CLOSED) continue;
            if (c->kind == B_LISTEN) {
                int fd = accept4(c->fd, NULL, NULL, SOCK_NONBLOCK), on = 1;
                if (fd < 0) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                Pair *p = calloc(1, sizeof *p);
                p->tw = conn_new(fd, B_TWILIO, false, ST_HANDSHAKE, EPOLLIN);
                p->tw->user = p;
                continue;
            }
            if (e[i].events & EPOLLOUT) {
                if (c->kind == B_UP && c->state == ST_CONNECTING)
                    ws_request(c, up_path, "127.0.0.1", "Authorization: Bearer bench\r\n");
                flush(c->user, c);
                if (c->state == ST_CLOSED) continue;
            }
            if (e[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c->user, c);
        }
    }
}
