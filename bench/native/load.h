/*
 * load.h - what the parts of loadgen share: options, histograms, the state of a call and of
 * its model session, counters, timers. One program, one thread; each part is included once.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H
#include "ws.h"

#define FRAME 160           /* bytes of mu-law in 20 ms */
#define FRAME_NS 20000000ull
#define MS 1000000ull
#define POOL 64
#define RING 2048           /* remembered frames per call (41 s) */
#define NEVER UINT32_MAX
#define CALLER_HEAD "+1555010" /* and four digits: the number of the call's line on stdin */

enum { C_LISTEN_MODEL = 1, C_LISTEN_TOOLS, C_TWILIO, C_MODEL, C_TOOLS, C_STDIN };

/* --------------------------------------------------------------- options */
static struct {
    int sut_port, model_port, tools_port, calls, with_tools;
    double settle_s, win_s, drain_s, ramp_limit_s;
    int caller_ms, agent_ms, cycle_ms, delta_ms, burst, think_ms, tool_ms;
    const char *host, *account;
} O = {.settle_s = 1, .win_s = 10, .drain_s = 2, .ramp_limit_s = 40, .caller_ms = 2000, .agent_ms = 2000,
       .cycle_ms = 5000, .delta_ms = 200, .burst = 4, .think_ms = 300, .tool_ms = 100,
       .account = "AC00000000000000000000000000000000"};

/* -------------------------------------------------------------- histogram */
#define HSTEP 10000ull /* 10 us */
#define HN 500000      /* up to 5 s; more counts as the last */
typedef struct { uint32_t *b; uint64_t n, max; double sum; } Hist;
static Hist H_added, H_up, H_down, H_turn, H_tool_out, H_tool_back, H_tool, H_first, H_model_ready, H_pacing;

static inline void h_init(Hist *h) { h->b = calloc(HN, sizeof *h->b); }
static inline void h_add(Hist *h, uint64_t ns) {
    uint64_t i = ns / HSTEP;
    h->b[i < HN ? i : HN - 1]++;
    h->n++; h->sum += (double)ns;
    if (ns > h->max) h->max = ns;
}
static inline double h_q(const Hist *h, double q) {
    if (!h->n) return -1;
    uint64_t want = (uint64_t)(q * (double)h->n), seen = 0;
    for (int i = 0; i < HN; i++) {
        seen += h->b[i];
        if (seen > want) {
            double v = ((double)i + 1) * HSTEP / 1e6, m = (double)h->max / 1e6;
            return v < m ? v : m;
        }
    }
    return (double)h->max / 1e6;
}

/* ------------------------------------------------------------------ state */
typedef struct { char name[64]; uint64_t due; } Mark;
/* Puts 160-byte frames together again; `locked` once the first marker has been seen, before
 * which everything is the opening (policy line, rendered greeting) and no fault. */
typedef struct { uint8_t fr[FRAME]; int n; bool locked; } Frames;

typedef struct Model Model;
typedef struct Call {
    Conn *c;
    Model *model;
    int idx, streaming, failed;
    char call_sid[40], sid[40], *path, *params, *headers;
    uint64_t t_webhook, t_answer, t_dialled, due;
    bool heard;                          /* a first audio has come */
    uint32_t seq, json_seq, w0, w1;      /* caller frames; [w0,w1) is the window */
    uint64_t *t_sent;                    /* by seq % RING */
    uint32_t up_next; bool up_seen;
    uint64_t last_up_ns;                 /* how long the latest caller frame was in the SUT */
    uint32_t aseq, aw0, aw1, down_next;  /* agent frames */
    struct { uint64_t t; uint32_t up_us; bool first_of_delta, first_of_turn; } *agent;
    uint64_t play_end;                   /* playback clock of the simulated phone */
    Mark *marks; int mark_off, mark_n, mark_cap;
    Frames rx;
} Call;

/* What the model of one call is at. */
enum { M_QUIET, M_CALLER, M_THINKING, M_SPEAKING, M_AT_TOOL };
struct Model {
    Conn *c;
    Call *call;
    Frames rx;
    int caller, state, chunk, resp, item; /* caller: from 1 on, 0 unknown */
    bool by_turn;                        /* the answer is one to the caller's speech */
    unsigned timer;                      /* the one timer that counts; older ones are void */
    uint64_t turn_up_ns, next_turn;
    struct { char id[40]; int number; uint64_t t_asked, t_got, t_answered; bool output; } tool;
    char key[64];
};

static Call *calls; static int ncalls;
enum { P_RAMP, P_SETTLE, P_WINDOW, P_DRAIN, P_STOPPING, P_DONE };
static int phase;
static struct {
    uint64_t up_recv, up_dup, down_recv, down_dup, corrupt, foreign_bytes, late_up, late_down;
    uint64_t append_msgs, delta_msgs, media_msgs, marks_in, marks_out, clears, other_twilio, other_model;
    uint64_t no_auth, bad_sid, bad_json, failed, dropped, sessions, open, answers, truncates, cancels, busy;
    uint64_t tools_asked, tools_got, tools_doubled, tools_unknown, tools_done, tools_late;
} N;

/* ----------------------------------------------------------------- timers */
enum { T_FRAME, T_MODEL, T_TOOL };
typedef struct { uint64_t due; int kind; unsigned stamp; void *p; } Timer;
static Timer *heap; static int hn, hcap;
static inline void t_push(uint64_t due, int kind, unsigned stamp, void *p) {
    if (hn == hcap) heap = realloc(heap, sizeof *heap * (size_t)(hcap = hcap ? hcap * 2 : 1024));
    int i = hn++;
    while (i && heap[(i - 1) / 2].due > due) { heap[i] = heap[(i - 1) / 2]; i = (i - 1) / 2; }
    heap[i] = (Timer){due, kind, stamp, p};
}
static inline Timer t_pop(void) {
    Timer top = heap[0], last = heap[--hn];
    int i = 0;
    for (;;) {
        int k = 2 * i + 1;
        if (k >= hn) break;
        if (k + 1 < hn && heap[k + 1].due < heap[k].due) k++;
        if (heap[k].due >= last.due) break;
        heap[i] = heap[k];
        i = k;
    }
    heap[i] = last;
    return top;
}

/* ------------------------------------------------------------------ audio */
static uint8_t pool[POOL][FRAME - 12];
static char pool64[POOL][208];

static inline void pool_init(void) { /* noise that never looks like a marker */
    for (int i = 0; i < POOL; i++) {
        for (int j = 0; j < FRAME - 12; j++) pool[i][j] = (uint8_t)(rng() >> 20) & 0x7F;
        pool64[i][b64_enc(pool[i], FRAME - 12, pool64[i])] = 0;
    }
}
static inline uint8_t chk(int call, uint32_t seq) {
    return (uint8_t)((uint32_t)call * 31u + seq * 17u + (seq >> 8) * 5u + 0x5A);
}
static inline void marker_put(uint8_t *b, char kind, int call, uint32_t seq) {
    b[0] = 0xFE; b[1] = 'M'; b[2] = (uint8_t)kind;
    b[3] = (uint8_t)(call >> 16); b[4] = (uint8_t)(call >> 8); b[5] = (uint8_t)call;
    b[6] = (uint8_t)(seq >> 16); b[7] = (uint8_t)(seq >> 8); b[8] = (uint8_t)seq;
    b[9] = chk(call, seq); b[10] = (uint8_t)~b[9]; b[11] = 0xFE;
}
static inline bool marker_get(const uint8_t *b, char kind, int *call, uint32_t *seq) {
    if (b[0] != 0xFE || b[1] != 'M' || b[11] != 0xFE || (char)b[2] != kind) return false;
    *call = b[3] << 16 | b[4] << 8 | b[5];
    *seq = (uint32_t)(b[6] << 16 | b[7] << 8 | b[8]);
    return b[9] == chk(*call, *seq) && (b[9] ^ b[10]) == 0xFF && *call < ncalls;
}
static inline int pool_of(int call, uint32_t seq) { return (int)(((uint32_t)call * 7u + seq) % POOL); }
static inline void frame_make(uint8_t *b, char kind, int call, uint32_t seq) {
    marker_put(b, kind, call, seq);
    memcpy(b + 12, pool[pool_of(call, seq)], FRAME - 12);
}
/* Feeds decoded audio; calls fn(arg, call, seq) for each frame of `kind`. */
static inline void feed(Frames *f, const uint8_t *d, size_t n, char kind, void (*fn)(void *, int, uint32_t), void *arg) {
    while (n) {
        size_t k = (size_t)(FRAME - f->n);
        if (k > n) k = n;
        memcpy(f->fr + f->n, d, k);
        f->n += (int)k; d += k; n -= k;
        if (f->n < FRAME) return;
        int call; uint32_t seq;
        if (marker_get(f->fr, kind, &call, &seq)) {
            f->n = 0;
            f->locked = true;
            if (memcmp(f->fr + 12, pool[pool_of(call, seq)], FRAME - 12)) N.corrupt++;
            fn(arg, call, seq);
            continue;
        }
        int o = 1; /* other audio: look for the next marker */
        while (o < FRAME && !(f->fr[o] == 0xFE && (o + 1 == FRAME || f->fr[o + 1] == 'M'))) o++;
        if (f->locked) N.foreign_bytes += (uint64_t)o;
        memmove(f->fr, f->fr + o, (size_t)(FRAME - o));
        f->n = FRAME - o;
    }
}
static inline void out_json(const char *fmt, ...) {
    va_list a;
    va_start(a, fmt);
    vprintf(fmt, a);
    va_end(a);
    fputc('\n', stdout);
    fflush(stdout);
}
#endif
