/*
 * model.h - the Realtime API as the SUT sees it (GA events, openai_realtime.md 3-5): turns on a
 * schedule, answers four times faster than real time, and with --with-tools a function call
 * before each answer. Measures what the SUT appends and how soon it brings tool results.
 */
static char *EV; static size_t evcap = 1 << 16; static int evseq;

static void model_close(Model *u) {
    if (u->c->state == ST_CLOSED) return;
    if (u->c->state == ST_OPEN) N.open--;
    conn_close(u->c);
}
static void model_flush(Model *u) {
    if (u->c->state == ST_OPEN && !conn_flush(u->c)) model_close(u);
}
__attribute__((format(printf, 2, 3))) static void ev(Model *u, const char *fmt, ...) {
    va_list a;
    va_start(a, fmt);
    int n = vsnprintf(EV, evcap, fmt, a);
    va_end(a);
    ws_put(u->c, 1, EV, (size_t)n);
}
static int next_id(void) { return ++evseq; }
#define EVID next_id()
static void at(Model *u, uint64_t due) { t_push(due, T_MODEL, ++u->timer, u); }

static void resp_created(Model *u) {
    u->resp = EVID; u->item = EVID;
    ev(u, "{\"type\":\"response.created\",\"event_id\":\"event_%012d\",\"response\":{\"object\":\"realtime.response\",\"id\":\"resp_%012d\","
       "\"status\":\"in_progress\",\"status_details\":null,\"output\":[],\"conversation_id\":\"conv_%012d\",\"usage\":null,\"metadata\":null}}",
       EVID, u->resp, 1);
}
static void resp_done(Model *u, const char *item) {
    ev(u, "{\"type\":\"response.output_item.done\",\"event_id\":\"event_%012d\",\"response_id\":\"resp_%012d\",\"output_index\":0,\"item\":%s}",
       EVID, u->resp, item);
    ev(u, "{\"type\":\"response.done\",\"event_id\":\"event_%012d\",\"response\":{\"object\":\"realtime.response\",\"id\":\"resp_%012d\","
       "\"status\":\"completed\",\"status_details\":null,\"output\":[%s],\"conversation_id\":\"conv_%012d\","
       "\"usage\":{\"total_tokens\":253,\"input_tokens\":132,\"output_tokens\":121,\"input_token_details\":{\"text_tokens\":119,\"audio_tokens\":13,"
       "\"cached_tokens\":64,\"cached_tokens_details\":{\"text_tokens\":64,\"audio_tokens\":0}},\"output_token_details\":{\"text_tokens\":30,"
       "\"audio_tokens\":91}},\"metadata\":null}}", EVID, u->resp, item, 1);
    ev(u, "{\"type\":\"rate_limits.updated\",\"event_id\":\"event_%012d\",\"rate_limits\":[{\"name\":\"requests\",\"limit\":1000,\"remaining\":999,"
       "\"reset_seconds\":60},{\"name\":\"tokens\",\"limit\":50000,\"remaining\":49950,\"reset_seconds\":60}]}", EVID);
}
static void speech_begin(Model *u) {
    static const char *item = "{\"id\":\"item_%012d\",\"object\":\"realtime.item\",\"type\":\"message\",\"status\":\"in_progress\","
                              "\"role\":\"assistant\",\"content\":[]}";
    char it[256];
    resp_created(u);
    snprintf(it, sizeof it, item, u->item);
    ev(u, "{\"type\":\"response.output_item.added\",\"event_id\":\"event_%012d\",\"response_id\":\"resp_%012d\",\"output_index\":0,\"item\":%s}",
       EVID, u->resp, it);
    ev(u, "{\"type\":\"conversation.item.added\",\"event_id\":\"event_%012d\",\"previous_item_id\":null,\"item\":%s}", EVID, it);
    ev(u, "{\"type\":\"response.content_part.added\",\"event_id\":\"event_%012d\",\"response_id\":\"resp_%012d\",\"item_id\":\"item_%012d\","
       "\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"audio\",\"transcript\":\"\"}}", EVID, u->resp, u->item);
}
static void speech_end(Model *u) {
    static const char *txt = "Certainly, I can help you with that, let me just look up the next free appointment.";
    char it[512];
    ev(u, "{\"type\":\"response.output_audio.done\",\"event_id\":\"event_%012d\",\"response_id\":\"resp_%012d\",\"item_id\":\"item_%012d\","
       "\"output_index\":0,\"content_index\":0}", EVID, u->resp, u->item);
    ev(u, "{\"type\":\"response.output_audio_transcript.done\",\"event_id\":\"event_%012d\",\"response_id\":\"resp_%012d\",\"item_id\":\"item_%012d\","
       "\"output_index\":0,\"content_index\":0,\"transcript\":\"%s\"}", EVID, u->resp, u->item, txt);
    ev(u, "{\"type\":\"response.content_part.done\",\"event_id\":\"event_%012d\",\"response_id\":\"resp_%012d\",\"item_id\":\"item_%012d\","
       "\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"audio\",\"transcript\":\"%s\"}}", EVID, u->resp, u->item, txt);
    snprintf(it, sizeof it, "{\"id\":\"item_%012d\",\"object\":\"realtime.item\",\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\","
             "\"content\":[{\"type\":\"output_audio\",\"transcript\":\"%s\"}]}", u->item, txt);
    resp_done(u, it);
    N.answers++;
}
/* One piece of the answer. Its first frame remembers when it left and what the turn owes so far. */
static void speech_piece(Model *u) {
    static uint8_t raw[96000];
    static char big[140000];
    Call *k = u->call;
    size_t frames = (size_t)O.delta_ms / 20;
    uint32_t first = k->aseq;
    for (size_t f = 0; f < frames; f++) {
        uint32_t s = k->aseq++;
        frame_make(raw + f * FRAME, 'A', k->idx, s);
        bool opens = u->by_turn && !u->chunk && !f;
        k->agent[s % RING].first_of_delta = !f;
        k->agent[s % RING].first_of_turn = opens;
        k->agent[s % RING].up_us = (uint32_t)((opens ? u->turn_up_ns : k->last_up_ns) / 1000);
    }
    int n = sprintf(big, "{\"type\":\"response.output_audio.delta\",\"event_id\":\"event_%012d\",\"response_id\":\"resp_%012d\","
                    "\"item_id\":\"item_%012d\",\"output_index\":0,\"content_index\":0,\"delta\":\"", EVID, u->resp, u->item);
    n += (int)b64_enc(raw, frames * FRAME, big + n);
    n += sprintf(big + n, "\"}");
    ws_put(u->c, 1, big, (size_t)n);
    if (phase == P_WINDOW) N.delta_msgs++;
    uint64_t now = now_ns();
    for (uint32_t s = first; s < k->aseq; s++) k->agent[s % RING].t = now;
    ev(u, "{\"type\":\"response.output_audio_transcript.delta\",\"event_id\":\"event_%012d\",\"response_id\":\"resp_%012d\",\"item_id\":\"item_%012d\","
       "\"output_index\":0,\"content_index\":0,\"delta\":\" word\"}", EVID, u->resp, u->item);
}
static void tool_ask(Model *u) {
    char it[512];
    snprintf(u->tool.id, sizeof u->tool.id, "call_%06d_%06d", u->call->idx, ++u->tool.number);
    snprintf(it, sizeof it, "{\"id\":\"item_%012d\",\"object\":\"realtime.item\",\"type\":\"function_call\",\"status\":\"completed\","
             "\"name\":\"look_up\",\"call_id\":\"%s\",\"arguments\":\"{\\\"day\\\":\\\"2026-11-27\\\"}\"}", u->item, u->tool.id);
    ev(u, "{\"type\":\"response.output_item.added\",\"event_id\":\"event_%012d\",\"response_id\":\"resp_%012d\",\"output_index\":0,"
       "\"item\":{\"id\":\"item_%012d\",\"object\":\"realtime.item\",\"type\":\"function_call\",\"status\":\"in_progress\","
       "\"name\":\"look_up\",\"call_id\":\"%s\",\"arguments\":\"\"}}", EVID, u->resp, u->item, u->tool.id);
    ev(u, "{\"type\":\"response.function_call_arguments.done\",\"event_id\":\"event_%012d\",\"response_id\":\"resp_%012d\",\"item_id\":\"item_%012d\","
       "\"output_index\":0,\"call_id\":\"%s\",\"name\":\"look_up\",\"arguments\":\"{\\\"day\\\":\\\"2026-11-27\\\"}\"}", EVID, u->resp, u->item, u->tool.id);
    resp_done(u, it);
    u->tool.t_asked = now_ns();
    u->tool.t_got = u->tool.t_answered = 0;
    u->tool.output = false;
    u->state = M_AT_TOOL;
    N.tools_asked++;
}
static void answer_begin(Model *u, bool by_turn) {
    u->by_turn = by_turn;
    u->chunk = 0;
    u->state = M_SPEAKING;
    speech_begin(u);
    at(u, now_ns() + (uint64_t)O.think_ms * MS);
}
/* What is next on the model's schedule. */
static void model_step(Model *u) {
    uint64_t now = now_ns();
    if (u->state == M_QUIET) {
        ev(u, "{\"type\":\"input_audio_buffer.speech_started\",\"event_id\":\"event_%012d\",\"audio_start_ms\":1000,\"item_id\":\"item_%012d\"}", EVID, EVID);
        u->next_turn = now + (uint64_t)O.cycle_ms * MS;
        u->state = M_CALLER;
        at(u, now + (uint64_t)O.caller_ms * MS);
    } else if (u->state == M_CALLER) {
        int it = EVID;
        u->turn_up_ns = u->call->last_up_ns;
        ev(u, "{\"type\":\"input_audio_buffer.speech_stopped\",\"event_id\":\"event_%012d\",\"audio_end_ms\":3000,\"item_id\":\"item_%012d\"}", EVID, it);
        ev(u, "{\"type\":\"input_audio_buffer.committed\",\"event_id\":\"event_%012d\",\"previous_item_id\":null,\"item_id\":\"item_%012d\"}", EVID, it);
        ev(u, "{\"type\":\"conversation.item.added\",\"event_id\":\"event_%012d\",\"previous_item_id\":null,\"item\":{\"id\":\"item_%012d\","
           "\"object\":\"realtime.item\",\"type\":\"message\",\"status\":\"completed\",\"role\":\"user\",\"content\":[{\"type\":\"input_audio\","
           "\"transcript\":null}]}}", EVID, it);
        ev(u, "{\"type\":\"conversation.item.input_audio_transcription.completed\",\"event_id\":\"event_%012d\",\"item_id\":\"item_%012d\","
           "\"content_index\":0,\"transcript\":\"Hello, I would like to book an appointment.\"}", EVID, it);
        /* none is begun that could not end before the step does */
        if (!O.with_tools || phase > P_WINDOW) { answer_begin(u, true); return; }
        resp_created(u);
        u->state = M_THINKING;
        at(u, now + (uint64_t)O.think_ms * MS);
    } else if (u->state == M_THINKING) {
        tool_ask(u);
    } else if (u->state == M_SPEAKING && u->chunk < O.agent_ms / O.delta_ms) {
        speech_piece(u);
        u->chunk++;
        at(u, now + (uint64_t)O.delta_ms * MS / (uint64_t)O.burst);
    } else if (u->state == M_SPEAKING) {
        speech_end(u);
        u->state = M_QUIET;
        /* the caller is polite: nobody speaks into what is still playing */
        uint64_t earliest = (u->call->play_end > now ? u->call->play_end : now) + 300 * MS;
        at(u, u->next_turn > earliest ? u->next_turn : earliest);
    }
}
static void attach(Model *u, Call *k) {
    u->call = k; k->model = u;
    if (u->state != M_QUIET) return;
    uint64_t now = now_ns(), from = k->play_end > now ? k->play_end : now;
    at(u, from + 1000 * MS + rng() % ((uint64_t)O.cycle_ms * MS));
}
/* The instructions name the caller, so that a greeting can be spoken before any caller audio. */
static void caller_named(Model *u, const char *p, size_t n) {
    size_t hn = strlen(CALLER_HEAD);
    const char *v = memmem(p, n, CALLER_HEAD, hn);
    if (!v || (size_t)(p + n - v) < hn + 4) return;
    char digits[5] = {0};
    memcpy(digits, v + hn, 4);
    u->caller = atoi(digits) + 1;
}
static void model_frame(void *arg, int call, uint32_t s) { /* one caller frame reached us */
    Model *u = arg;
    Call *k = &calls[call];
    uint64_t now = now_ns(), up = now - k->t_sent[s % RING];
    if (!u->call) attach(u, k);
    if (u->call != k) { N.corrupt++; return; }
    if (!k->up_seen) { k->up_seen = true; k->up_next = s; h_add(&H_model_ready, now - k->t_dialled); }
    if (s < k->up_next) N.up_dup++; else k->up_next = s + 1;
    k->last_up_ns = up;
    if (s < k->w0 || s >= k->w1) return;
    N.up_recv++;
    h_add(&H_up, up);
    if (up > FRAME_NS) N.late_up++;
}
static void session_event(Model *u, const char *type) {
    ev(u, "{\"type\":\"%s\",\"event_id\":\"event_%012d\",\"session\":{\"type\":\"realtime\",\"object\":\"realtime.session\",\"id\":\"sess_%012d\","
       "\"model\":\"gpt-realtime\",\"output_modalities\":[\"audio\"],\"instructions\":\"You are a helpful assistant.\",\"tools\":[],"
       "\"tool_choice\":\"auto\",\"max_output_tokens\":\"inf\",\"tracing\":null,\"truncation\":\"auto\",\"prompt\":null,\"expires_at\":1900000000,"
       "\"audio\":{\"input\":{\"format\":{\"type\":\"audio/pcmu\"},\"transcription\":null,\"noise_reduction\":null,\"turn_detection\":"
       "{\"type\":\"server_vad\",\"threshold\":0.5,\"prefix_padding_ms\":300,\"silence_duration_ms\":200,\"idle_timeout_ms\":null,"
       "\"create_response\":true,\"interrupt_response\":true}},\"output\":{\"format\":{\"type\":\"audio/pcmu\"},\"voice\":\"alloy\",\"speed\":1.0}},"
       "\"include\":null}}", type, EVID, 1);
}
static void tool_output(Model *u, const char *item, size_t n) {
    const char *v; size_t vn;
    bool ours = jget(item, n, "call_id", &v, &vn) && span_is(v, vn, u->tool.id);
    if (!ours || u->state != M_AT_TOOL || u->tool.output) { N.tools_unknown++; return; }
    u->tool.output = true;
    ev(u, "{\"type\":\"conversation.item.added\",\"event_id\":\"event_%012d\",\"previous_item_id\":null,\"item\":{\"id\":\"item_%012d\","
       "\"object\":\"realtime.item\",\"type\":\"function_call_output\",\"call_id\":\"%s\",\"output\":\"\"}}", EVID, EVID, u->tool.id);
}
static void response_asked(Model *u) {
    if (!u->call && u->caller && u->caller <= ncalls) attach(u, &calls[u->caller - 1]);
    if (u->state == M_QUIET && u->call) { /* a greeting */
        u->next_turn = now_ns() + rng() % ((uint64_t)O.cycle_ms * MS);
        answer_begin(u, false);
        return;
    }
    if (u->state != M_AT_TOOL) { N.busy++; return; } /* before the first caller frame, or in the middle of an answer */
    if (!u->tool.output) { N.busy++; return; }
    if (u->tool.t_answered) {
        uint64_t now = now_ns(), out = u->tool.t_got - u->tool.t_asked, back = now - u->tool.t_answered;
        N.tools_done++;
        h_add(&H_tool_out, out);
        h_add(&H_tool_back, back);
        h_add(&H_tool, out + back);
    }
    answer_begin(u, false);
}
static void model_message(Model *u, char *p, size_t n) {
    static uint8_t *raw; static size_t cap;
    const char *v, *x; size_t vn, xn;
    if (!jget(p, n, "type", &v, &vn)) { N.bad_json++; return; }
    if (span_is(v, vn, "input_audio_buffer.append")) {
        if (!jget(p, n, "audio", &v, &vn)) { N.bad_json++; return; }
        if (cap < vn) raw = realloc(raw, cap = vn * 2);
        size_t len = b64_dec(v, vn, raw);
        if (phase == P_WINDOW) N.append_msgs++;
        feed(&u->rx, raw, len, 'C', model_frame, u);
    } else if (span_is(v, vn, "session.update")) {
        caller_named(u, p, n);
        session_event(u, "session.updated");
    } else if (span_is(v, vn, "response.create")) {
        response_asked(u);
    } else if (span_is(v, vn, "response.cancel")) {
        N.cancels++;
    } else if (span_is(v, vn, "conversation.item.truncate")) {
        N.truncates++;
        ev(u, "{\"type\":\"conversation.item.truncated\",\"event_id\":\"event_%012d\",\"item_id\":\"item_%012d\",\"content_index\":0,\"audio_end_ms\":0}", EVID, u->item);
    } else if (span_is(v, vn, "conversation.item.create") && jget(p, n, "item", &x, &xn)) {
        if (jget(x, xn, "type", &v, &vn) && span_is(v, vn, "function_call_output")) tool_output(u, x, xn);
        else N.other_model++;
    } else N.other_model++;
}
static void model_readable(Model *u) {
    Conn *c = u->c;
    int r = conn_fill(c);
    if (r < 0) { model_close(u); return; }
    if (c->state == ST_HANDSHAKE) {
        size_t used; char v[256];
        char *h = http_head(c, &used);
        if (!h) return;
        if (!http_header(h, "Sec-WebSocket-Key", u->key, sizeof u->key)) { conn_close(c); return; }
        if (!http_header(h, "Authorization", v, sizeof v) || strncmp(v, "Bearer ", 7)) N.no_auth++;
        c->in.off += used;
        N.sessions++; N.open++;
        ws_accept(c, u->key);
        session_event(u, "session.created");
    }
    int op; char *p; size_t n;
    while (c->state == ST_OPEN && (r = ws_next(c, &op, &p, &n)) == 1) {
        if (op == 1) model_message(u, p, n);
        else if (op == 9) ws_put(c, 10, p, n);
        else if (op == 8) { ws_put(c, 8, p, n < 2 ? 0 : 2); conn_flush(c); model_close(u); return; }
    }
    if (c->state == ST_OPEN && r < 0) { model_close(u); return; }
    if (c->state == ST_OPEN && c->out.len > c->out.off) model_flush(u);
}
