#include "core/actions.h"

#include "base/text.h"

void actions_dial(struct actions *out, dial_id dial, argus_LinkKind kind,
                  const char *address, const struct node_id *expected)
{
    struct action a = {.type = ACTION_DIAL,
                       .dial = {.dial = dial,
                                .kind = kind,
                                .address = address,
                                .expected = expected}};
    out->emit(out->context, &a);
}

void actions_search(struct actions *out, dial_id dial, argus_LinkKind kind,
                    const char *address)
{
    struct action a = {
        .type = ACTION_DIAL,
        .dial = {
            .dial = dial, .kind = kind, .address = address, .is_search = true}};
    out->emit(out->context, &a);
}

void actions_send(struct actions *out, link_id link, const argus_Frame *frame)
{
    struct action a = {.type = ACTION_SEND,
                       .send = {.link = link, .frame = frame}};
    out->emit(out->context, &a);
}

void actions_close(struct actions *out, link_id link, argus_RefuseCode code,
                   const char *text)
{
    struct action a = {.type = ACTION_CLOSE,
                       .close = {.link = link, .code = code, .text = text}};
    out->emit(out->context, &a);
}

void actions_address(struct actions *out, const char *address)
{
    struct action a = {.type = ACTION_ADDRESS, .address = address};
    out->emit(out->context, &a);
}

void actions_call(struct actions *out)
{
    struct action a = {.type = ACTION_CALL};
    out->emit(out->context, &a);
}

void actions_log(struct actions *out, enum log_level level, const char *format,
                 ...)
{
    char line[LOG_LINE_SIZE];
    va_list ap;

    va_start(ap, format);
    text_format(line, sizeof line, format, ap);
    va_end(ap);

    struct action a = {.type = ACTION_LOG,
                       .log = {.level = level, .line = line}};
    out->emit(out->context, &a);
}
