/*
 * twilio.h - Twilio's media stream as the SUT sees it: connected, start, a frame of 160 mu-law
 * bytes every 20 ms on each call's own phase, marks echoed when their audio has played, clear,
 * stop (twilio.md 3). Measures what comes back.
 */
static void call_drop(Call *k, bool expected) {
    if (k->c && k->c->state != ST_CLOSED) conn_close(k->c);
    if (!expected && !k->failed) {
        k->failed = 1;
        if (k->streaming) N.dropped++; else N.failed++;
    }
    k->streaming = 0;
}
static void tw_flush(Call *k) { if (!conn_flush(k->c)) call_drop(k, phase >= P_STOPPING); }

static void tw_send_media(Call *k) {
    char m[640], b[20];
    uint8_t mk[12];
    uint32_t s = k->seq++;
    marker_put(mk, 'C', k->idx, s);
    b[b64_enc(mk, 12, b)] = 0;
    /* the order and spacing that Twilio uses */
    int n = snprintf(m, sizeof m, "{\"event\":\"media\",\"sequenceNumber\":\"%u\",\"media\":{\"track\":\"inbound\","
                     "\"chunk\":\"%u\",\"timestamp\":\"%u\",\"payload\":\"%s%s\"},\"streamSid\":\"%s\"}",
                     ++k->json_seq, s + 1, s * 20, b, pool64[pool_of(k->idx, s)], k->sid);
    ws_put(k->c, 1, m, (size_t)n);
    k->t_sent[s % RING] = now_ns();
    tw_flush(k);
}
static void tw_marks(Call *k, uint64_t now, bool all) {
    char m[256];
    while (k->mark_n && (all || k->marks[k->mark_off].due <= now)) {
        Mark *q = &k->marks[k->mark_off++];
        k->mark_n--;
        int n = snprintf(m, sizeof m, "{\"event\":\"mark\",\"sequenceNumber\":\"%u\",\"streamSid\":\"%s\",\"mark\":{\"name\":\"%s\"}}",
                         ++k->json_seq, k->sid, q->name);
        ws_put(k->c, 1, m, (size_t)n);
        N.marks_out++;
    }
    if (!k->mark_n) k->mark_off = 0;
}
static void tw_begin(Call *k) { /* handshake done */
    char *m = NULL;
    int n = asprintf(&m, "{\"event\":\"connected\",\"protocol\":\"Call\",\"version\":\"1.0.0\"}");
    ws_put(k->c, 1, m, (size_t)n);
    free(m);
    n = asprintf(&m, "{\"event\":\"start\",\"sequenceNumber\":\"%u\",\"start\":{\"accountSid\":\"%s\",\"streamSid\":\"%s\","
                 "\"callSid\":\"%s\",\"tracks\":[\"inbound\"],\"mediaFormat\":{\"encoding\":\"audio/x-mulaw\",\"sampleRate\":8000,"
                 "\"channels\":1},\"customParameters\":%s},\"streamSid\":\"%s\"}",
                 ++k->json_seq, O.account, k->sid, k->call_sid, k->params, k->sid);
    ws_put(k->c, 1, m, (size_t)n);
    free(m);
    k->streaming = 1;
    k->due = now_ns() + rng() % FRAME_NS;
    t_push(k->due, T_FRAME, 0, k);
    tw_flush(k);
}
static void tw_frame(void *arg, int call, uint32_t s) { /* one agent frame came out of the SUT */
    Call *k = arg;
    if (call != k->idx) { N.corrupt++; return; }
    uint64_t now = now_ns();
    if (s < k->down_next) N.down_dup++; else k->down_next = s + 1;
    if (s < k->aw0 || s >= k->aw1) return;
    N.down_recv++;
    uint64_t down = now - k->agent[s % RING].t;
    if (down > FRAME_NS) N.late_down++;
    if (!k->agent[s % RING].first_of_delta) return; /* one sample per delta */
    uint64_t up = (uint64_t)k->agent[s % RING].up_us * 1000;
    h_add(&H_down, down);
    h_add(&H_added, up + down);
    if (k->agent[s % RING].first_of_turn) h_add(&H_turn, up + down);
}
static void tw_message(Call *k, char *p, size_t n) {
    static uint8_t *raw; static size_t cap;
    const char *v, *x; size_t vn, xn;
    if (!jget(p, n, "event", &v, &vn)) { N.bad_json++; return; }
    if (!jget(p, n, "streamSid", &x, &xn) || !span_is(x, xn, k->sid)) N.bad_sid++;
    if (span_is(v, vn, "media")) {
        if (!jget(p, n, "media", &x, &xn) || !jget(x, xn, "payload", &v, &vn)) { N.bad_json++; return; }
        if (cap < vn) raw = realloc(raw, cap = vn * 2);
        size_t len = b64_dec(v, vn, raw);
        if (phase == P_WINDOW) N.media_msgs++;
        uint64_t now = now_ns();
        if (!k->heard) { /* what we ourselves took between the webhook's answer and dialling is not theirs */
            k->heard = true;
            if (k->t_webhook) h_add(&H_first, now - k->t_webhook - (k->t_dialled - k->t_answer));
        }
        if (k->play_end < now) k->play_end = now;
        k->play_end += (uint64_t)len * 125000ull;
        feed(&k->rx, raw, len, 'A', tw_frame, k);
    } else if (span_is(v, vn, "mark")) {
        N.marks_in++;
        if (k->mark_off + k->mark_n == k->mark_cap) {
            if (k->mark_off) { memmove(k->marks, k->marks + k->mark_off, sizeof(Mark) * (size_t)k->mark_n); k->mark_off = 0; }
            else k->marks = realloc(k->marks, sizeof(Mark) * (size_t)(k->mark_cap = k->mark_cap ? k->mark_cap * 2 : 16));
        }
        Mark *q = &k->marks[k->mark_off + k->mark_n++];
        q->name[0] = 0;
        q->due = k->play_end;
        if (jget(p, n, "mark", &x, &xn) && jget(x, xn, "name", &v, &vn)) {
            if (vn > sizeof q->name - 1) vn = sizeof q->name - 1;
            memcpy(q->name, v, vn);
            q->name[vn] = 0;
        }
    } else if (span_is(v, vn, "clear")) {
        N.clears++;
        k->play_end = 0;
        tw_marks(k, 0, true);
        tw_flush(k);
    } else N.other_twilio++;
}
static void tw_readable(Call *k) {
    Conn *c = k->c;
    int r = conn_fill(c);
    if (r < 0) { call_drop(k, phase >= P_STOPPING); return; }
    if (c->state == ST_HANDSHAKE) {
        size_t used;
        char *h = http_head(c, &used);
        if (!h) return;
        if (strncmp(h, "HTTP/1.1 101", 12)) { fprintf(stderr, "the stream was refused: %.60s\n", h); call_drop(k, false); return; }
        c->in.off += used;
        c->state = ST_OPEN;
        tw_begin(k);
    }
    int op; char *p; size_t n;
    while (c->state == ST_OPEN && (r = ws_next(c, &op, &p, &n)) == 1) {
        if (op == 1) tw_message(k, p, n);
        else if (op == 9) { ws_put(c, 10, p, n); tw_flush(k); }
        else if (op == 8) { call_drop(k, phase >= P_STOPPING); return; }
    }
    if (c->state == ST_OPEN && r < 0) call_drop(k, false);
}
static void tw_tick(Call *k) {
    if (!k->streaming || phase >= P_STOPPING) return;
    uint64_t now = now_ns();
    if (phase == P_WINDOW) h_add(&H_pacing, now > k->due ? now - k->due : 0);
    if (k->mark_n) tw_marks(k, now, false);
    tw_send_media(k);
    k->due += FRAME_NS;
    if (k->streaming) t_push(k->due, T_FRAME, 0, k);
}
static void tw_dial(Call *k) {
    k->t_dialled = now_ns();
    int fd = tcp_connect(O.sut_port);
    if (fd < 0) { k->failed = 1; N.failed++; return; }
    k->c = conn_new(fd, C_TWILIO, true, ST_CONNECTING, EPOLLIN | EPOLLOUT);
    k->c->user = k;
}
static void tw_stop(Call *k) {
    char m[256];
    int n = snprintf(m, sizeof m, "{\"event\":\"stop\",\"sequenceNumber\":\"%u\",\"stop\":{\"accountSid\":\"%s\",\"callSid\":\"%s\"},"
                     "\"streamSid\":\"%s\"}", ++k->json_seq, O.account, k->call_sid, k->sid);
    ws_put(k->c, 1, m, (size_t)n);
    ws_put(k->c, 8, "\x03\xe8", 2);
    conn_flush(k->c);
}
