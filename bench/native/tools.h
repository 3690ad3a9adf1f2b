/*
 * tools.h - a customer's tool server: answers each POST in Vapi's form (vapi.md 4.6) after
 * --tool-ms, and remembers when the request was whole and when the answer left.
 */
typedef struct { Conn *c; size_t need; bool in_body; char id[40]; } Visit;

static Model *model_of_tool(const char *id) {
    int call, number;
    if (sscanf(id, "call_%d_%d", &call, &number) != 2 || call < 0 || call >= ncalls) return NULL;
    Model *u = calls[call].model;
    return u && !strcmp(u->tool.id, id) ? u : NULL;
}
static void tools_answer(Visit *v) {
    char body[256], m[512];
    if (v->c->state != ST_OPEN) return;
    int n = snprintf(body, sizeof body, "{\"results\":[{\"toolCallId\":\"%s\",\"result\":\"Free at ten and at eleven.\"}]}", v->id);
    n = snprintf(m, sizeof m, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", n, body);
    buf_put(&v->c->out, m, (size_t)n);
    Model *u = model_of_tool(v->id);
    if (u) u->tool.t_answered = now_ns();
    if (!conn_flush(v->c)) conn_close(v->c);
}
static void tools_request(Visit *v, const char *p, size_t n) {
    const char *x, *e; size_t xn, en;
    v->id[0] = 0;
    if (jget(p, n, "message", &x, &xn) && jget(x, xn, "toolCallList", &e, &en) && en > 2 && jget(e + 1, en - 1, "id", &x, &xn) && xn < sizeof v->id) {
        memcpy(v->id, x, xn);
        v->id[xn] = 0;
    }
    Model *u = model_of_tool(v->id);
    if (!u) N.tools_late++;
    else if (u->tool.t_got) N.tools_doubled++;
    else { u->tool.t_got = now_ns(); N.tools_got++; }
    t_push(now_ns() + (uint64_t)O.tool_ms * MS, T_TOOL, 0, v);
}
static void tools_readable(Visit *v) {
    Conn *c = v->c;
    if (conn_fill(c) < 0) { conn_close(c); return; }
    for (;;) {
        if (!v->in_body) {
            size_t used; char len[24];
            char *h = http_head(c, &used);
            if (!h) return;
            v->need = http_header(h, "Content-Length", len, sizeof len) ? (size_t)atol(len) : 0;
            c->in.off += used;
            v->in_body = true;
        }
        if (c->in.len - c->in.off < v->need) return;
        tools_request(v, c->in.p + c->in.off, v->need);
        c->in.off += v->need;
        v->in_body = false;
    }
}
