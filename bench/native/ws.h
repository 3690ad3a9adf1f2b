/*
 * ws.h - the small amount of plumbing shared by loadgen.c and nullbridge.c:
 * growable buffers, SHA-1 and base64 (for the WebSocket handshake), WebSocket
 * framing in both roles, a shallow JSON reader, and an epoll connection type.
 *
 * Everything is single-threaded on purpose: the harness must be several times
 * cheaper per call than what it measures, and it must fit on one core.
 */
#ifndef BENCH_WS_H
#define BENCH_WS_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ------------------------------------------------------------------ time */
static inline uint64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static uint64_t rng_state = 0x9E3779B97F4A7C15ull;
static inline uint64_t rng(void) { /* xorshift64*: masks and jitter only */
    uint64_t x = rng_state;
    x ^= x >> 12; x ^= x << 25; x ^= x >> 27;
    rng_state = x;
    return x * 0x2545F4914F6CDD1Dull;
}

/* --------------------------------------------------------------- buffers */
typedef struct { char *p; size_t off, len, cap; } Buf; /* live: p[off..len) */

static inline void buf_room(Buf *b, size_t n) {
    if (b->off == b->len) b->off = b->len = 0;
    if (b->cap - b->len >= n) return;
    if (b->off) {
        memmove(b->p, b->p + b->off, b->len - b->off);
        b->len -= b->off;
        b->off = 0;
        if (b->cap - b->len >= n) return;
    }
    size_t cap = b->cap ? b->cap : 4096;
    while (cap - b->len < n) cap *= 2;
    b->p = realloc(b->p, cap);
    if (!b->p) { perror("realloc"); exit(2); }
    b->cap = cap;
}
static inline void buf_put(Buf *b, const void *d, size_t n) {
    buf_room(b, n);
    memcpy(b->p + b->len, d, n);
    b->len += n;
}
static inline void buf_free(Buf *b) { free(b->p); memset(b, 0, sizeof *b); }

/* ----------------------------------------------------------------- SHA-1 */
static inline void sha1(const uint8_t *msg, size_t n, uint8_t out[20]) {
    uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    size_t total = ((n + 8) / 64 + 1) * 64;
    uint8_t *m = calloc(1, total);
    memcpy(m, msg, n);
    m[n] = 0x80;
    uint64_t bits = (uint64_t)n * 8;
    for (int i = 0; i < 8; i++) m[total - 1 - i] = (uint8_t)(bits >> (8 * i));
    for (size_t o = 0; o < total; o += 64) {
        uint32_t w[80];
        for (int i = 0; i < 16; i++)
            w[i] = (uint32_t)m[o + 4 * i] << 24 | (uint32_t)m[o + 4 * i + 1] << 16 |
                   (uint32_t)m[o + 4 * i + 2] << 8 | m[o + 4 * i + 3];
        for (int i = 16; i < 80; i++) {
            uint32_t x = w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16];
            w[i] = x << 1 | x >> 31;
        }
        uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 80; i++) {
            uint32_t f, k;
            if (i < 20)      { f = (b & c) | (~b & d);          k = 0x5A827999; }
            else if (i < 40) { f = b ^ c ^ d;                   k = 0x6ED9EBA1; }
            else if (i < 60) { f = (b & c) | (b & d) | (c & d); k = 0x8F1BBCDC; }
            else             { f = b ^ c ^ d;                   k = 0xCA62C1D6; }
            uint32_t t = (a << 5 | a >> 27) + f + e + k + w[i];
            e = d; d = c; c = b << 30 | b >> 2; b = a; a = t;
        }
        h[0] += a; h[1] += b; h[2] += c; h[3] += d; h[4] += e;
    }
    free(m);
    for (int i = 0; i < 20; i++) out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

/* ---------------------------------------------------------------- base64 */
static const char B64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static int8_t b64_rev[256];

static inline void b64_init(void) {
    memset(b64_rev, -1, sizeof b64_rev);
    for (int i = 0; i < 64; i++) b64_rev[(uint8_t)B64[i]] = (int8_t)i;
}
static inline size_t b64_enc(const uint8_t *s, size_t n, char *o) {
    char *q = o;
    size_t i = 0;
    for (; i + 2 < n; i += 3) {
        uint32_t v = (uint32_t)s[i] << 16 | (uint32_t)s[i + 1] << 8 | s[i + 2];
        *q++ = B64[v >> 18]; *q++ = B64[v >> 12 & 63]; *q++ = B64[v >> 6 & 63]; *q++ = B64[v & 63];
    }
    if (i < n) {
        uint32_t v = (uint32_t)s[i] << 16 | (i + 1 < n ? (uint32_t)s[i + 1] << 8 : 0);
        *q++ = B64[v >> 18]; *q++ = B64[v >> 12 & 63];
        *q++ = i + 1 < n ? B64[v >> 6 & 63] : '=';
        *q++ = '=';
    }
    return (size_t)(q - o);
}
/* Skips anything outside the alphabet, so a JSON "\/" escape is harmless. */
static inline size_t b64_dec(const char *s, size_t n, uint8_t *o) {
    uint8_t *q = o;
    uint32_t v = 0;
    int k = 0;
    for (size_t i = 0; i < n; i++) {
        int8_t d = b64_rev[(uint8_t)s[i]];
        if (d < 0) continue;
        v = v << 6 | (uint32_t)d;
        if (++k == 4) {
            *q++ = (uint8_t)(v >> 16); *q++ = (uint8_t)(v >> 8); *q++ = (uint8_t)v;
            k = 0; v = 0;
        }
    }
    if (k == 2) *q++ = (uint8_t)(v >> 4);
    else if (k == 3) { *q++ = (uint8_t)(v >> 10); *q++ = (uint8_t)(v >> 2); }
    return (size_t)(q - o);
}

/* ---------------------------------------------------- shallow JSON reader */
static inline const char *js_ws(const char *p, const char *e) {
    while (p < e && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')) p++;
    return p;
}
static inline const char *js_str_end(const char *p, const char *e) { /* p: after the opening quote */
    for (;;) {
        const char *q = memchr(p, '"', (size_t)(e - p));
        if (!q) return e;
        int bs = 0;
        for (const char *r = q - 1; r >= p && *r == '\\'; r--) bs++;
        if (!(bs & 1)) return q;
        p = q + 1;
    }
}
static inline const char *js_skip(const char *p, const char *e) {
    if (p >= e) return e;
    if (*p == '"') { p = js_str_end(p + 1, e); return p < e ? p + 1 : e; }
    if (*p == '{' || *p == '[') {
        int depth = 0;
        while (p < e) {
            if (*p == '"') { p = js_str_end(p + 1, e); if (p >= e) return e; }
            else if (*p == '{' || *p == '[') depth++;
            else if (*p == '}' || *p == ']') { if (--depth == 0) return p + 1; }
            p++;
        }
        return e;
    }
    while (p < e && *p != ',' && *p != '}' && *p != ']') p++;
    return p;
}
/* Value of a key of the object at s; strings come back without their quotes. */
static inline bool jget(const char *s, size_t n, const char *key, const char **v, size_t *vn) {
    const char *e = s + n, *p = js_ws(s, e);
    size_t kn = strlen(key);
    if (p >= e || *p != '{') return false;
    p++;
    for (;;) {
        p = js_ws(p, e);
        if (p >= e || *p != '"') return false;
        const char *k = p + 1, *ke = js_str_end(k, e);
        p = js_ws(ke + 1, e);
        if (p >= e || *p != ':') return false;
        p = js_ws(p + 1, e);
        const char *ve = js_skip(p, e);
        if ((size_t)(ke - k) == kn && !memcmp(k, key, kn)) {
            if (*p == '"') { *v = p + 1; *vn = (size_t)(ve - p) - 2; }
            else { *v = p; *vn = (size_t)(ve - p); }
            return true;
        }
        p = js_ws(ve, e);
        if (p >= e || *p != ',') return false;
        p++;
    }
}
static inline bool span_is(const char *v, size_t n, const char *lit) {
    return strlen(lit) == n && !memcmp(v, lit, n);
}

/* ----------------------------------------------------------- connections */
enum { ST_CONNECTING, ST_HANDSHAKE, ST_OPEN, ST_CLOSED };
typedef struct Conn {
    int fd, kind, state;
    bool client;      /* client frames are masked */
    bool armed;       /* EPOLLOUT registered */
    Buf in, out, frag;
    void *user;       /* owner's state */
} Conn;

static int EP = -1;

static inline Conn *conn_new(int fd, int kind, bool client, int state, uint32_t events) {
    Conn *c = calloc(1, sizeof *c);
    c->fd = fd; c->kind = kind; c->client = client; c->state = state;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL, 0) | O_NONBLOCK);
    struct epoll_event ev = {.events = events, .data.ptr = c};
    epoll_ctl(EP, EPOLL_CTL_ADD, fd, &ev);
    c->armed = events & EPOLLOUT;
    return c;
}
static inline void conn_events(Conn *c, bool out) {
    if (c->armed == out) return;
    c->armed = out;
    struct epoll_event ev = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(EP, EPOLL_CTL_MOD, c->fd, &ev);
}
static inline void conn_close(Conn *c) {
    if (c->state == ST_CLOSED) return;
    c->state = ST_CLOSED;
    close(c->fd);
    c->fd = -1;
    buf_free(&c->in); buf_free(&c->out); buf_free(&c->frag);
}
/* false: the peer is gone (the caller decides what that means). */
static inline bool conn_flush(Conn *c) {
    while (c->out.off < c->out.len) {
        ssize_t k = send(c->fd, c->out.p + c->out.off, c->out.len - c->out.off, MSG_NOSIGNAL);
        if (k < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN) { conn_events(c, true); return true; }
            return false;
        }
        c->out.off += (size_t)k;
    }
    if (c->armed) conn_events(c, false);
    return true;
}
/* One read per readiness event. 1: bytes came, 0: nothing now, -1: closed. */
static inline int conn_fill(Conn *c) {
    buf_room(&c->in, 32768);
    ssize_t k = recv(c->fd, c->in.p + c->in.len, c->in.cap - c->in.len, 0);
    if (k > 0) { c->in.len += (size_t)k; return 1; }
    if (k < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    return -1;
}
static inline int tcp_listen(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (void *)&a, sizeof a) || listen(fd, 4096)) { perror("listen"); exit(2); }
    return fd;
}
static inline int tcp_connect(int port) { /* non-blocking */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    if (fd < 0) return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (void *)&a, sizeof a) && errno != EINPROGRESS) { close(fd); return -1; }
    return fd;
}

/* ------------------------------------------------------------- WebSocket */
static inline void xor_mask(char *p, size_t n, uint32_t key) {
    uint64_t k8 = (uint64_t)key << 32 | key;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) { uint64_t v; memcpy(&v, p + i, 8); v ^= k8; memcpy(p + i, &v, 8); }
    for (; i < n; i++) p[i] ^= (char)(key >> (8 * (i & 3)));
}
/* Appends one frame to c->out; the caller flushes. */
static inline void ws_put(Conn *c, int op, const char *d, size_t n) {
    uint8_t h[14];
    size_t hn = 2;
    h[0] = (uint8_t)(0x80 | op);
    uint8_t m = c->client ? 0x80 : 0;
    if (n < 126) h[1] = (uint8_t)(m | n);
    else if (n < 65536) { h[1] = m | 126; h[2] = (uint8_t)(n >> 8); h[3] = (uint8_t)n; hn = 4; }
    else {
        h[1] = m | 127;
        for (int i = 0; i < 8; i++) h[2 + i] = (uint8_t)((uint64_t)n >> (56 - 8 * i));
        hn = 10;
    }
    uint32_t key = 0;
    if (m) { key = (uint32_t)rng(); memcpy(h + hn, &key, 4); hn += 4; }
    buf_room(&c->out, hn + n);
    memcpy(c->out.p + c->out.len, h, hn);
    memcpy(c->out.p + c->out.len + hn, d, n);
    if (m) xor_mask(c->out.p + c->out.len + hn, n, key);
    c->out.len += hn + n;
}
/* Next whole message. 1: got one, 0: need more bytes, -1: protocol error.
 * Control frames are returned as they come; fragments are joined. */
static inline int ws_next(Conn *c, int *op, char **pl, size_t *n) {
    for (;;) {
        size_t have = c->in.len - c->in.off;
        uint8_t *p = (uint8_t *)c->in.p + c->in.off;
        if (have < 2) return 0;
        int fin = p[0] & 0x80, o = p[0] & 15;
        if (p[0] & 0x70) return -1; /* we never negotiate extensions */
        bool masked = p[1] & 0x80;
        size_t hn = 2;
        uint64_t len = p[1] & 127;
        if (len == 126) { if (have < 4) return 0; len = (uint64_t)p[2] << 8 | p[3]; hn = 4; }
        else if (len == 127) {
            if (have < 10) return 0;
            len = 0;
            for (int i = 0; i < 8; i++) len = len << 8 | p[2 + i];
            hn = 10;
        }
        uint32_t key = 0;
        if (masked) { if (have < hn + 4) return 0; memcpy(&key, p + hn, 4); hn += 4; }
        if (len > (64u << 20)) return -1;
        if (have < hn + len) return 0;
        char *d = (char *)p + hn;
        if (masked) xor_mask(d, len, key);
        c->in.off += hn + len;
        if (o >= 8 || (fin && o)) { *op = o; *pl = d; *n = len; return 1; }
        if (o) c->frag.off = c->frag.len = 0;
        buf_put(&c->frag, d, len);
        if (fin) { *op = 1; *pl = c->frag.p; *n = c->frag.len; return 1; }
    }
}
/* The request/response head, NUL-terminated in place of its last byte, or NULL. */
static inline char *http_head(Conn *c, size_t *used) {
    char *p = c->in.p + c->in.off;
    char *e = memmem(p, c->in.len - c->in.off, "\r\n\r\n", 4);
    if (!e) return NULL;
    *used = (size_t)(e - p) + 4;
    e[2] = 0;
    return p;
}
static inline bool http_header(const char *head, const char *name, char *out, size_t cap) {
    size_t nn = strlen(name);
    for (const char *p = strstr(head, "\r\n"); p; p = strstr(p + 2, "\r\n")) {
        if (strncasecmp(p + 2, name, nn) || p[2 + nn] != ':') continue;
        const char *v = p + 3 + nn;
        while (*v == ' ') v++;
        size_t k = strcspn(v, "\r");
        if (k >= cap) k = cap - 1;
        memcpy(out, v, k);
        out[k] = 0;
        return true;
    }
    return false;
}
static inline void ws_accept(Conn *c, const char *key) { /* server side: 101 */
    char cat[128];
    uint8_t dig[20];
    snprintf(cat, sizeof cat, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1((uint8_t *)cat, strlen(cat), dig);
    char acc[32], r[256];
    acc[b64_enc(dig, 20, acc)] = 0;
    int k = snprintf(r, sizeof r, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", acc);
    buf_put(&c->out, r, (size_t)k);
    c->state = ST_OPEN;
}
static inline void ws_request(Conn *c, const char *path, const char *host, const char *extra) {
    uint8_t raw[16];
    for (int i = 0; i < 16; i++) raw[i] = (uint8_t)rng();
    char key[32], r[4096];
    key[b64_enc(raw, 16, key)] = 0;
    int k = snprintf(r, sizeof r, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                     path, host, key, extra ? extra : "");
    buf_put(&c->out, r, (size_t)k);
    c->state = ST_HANDSHAKE;
}
#endif
