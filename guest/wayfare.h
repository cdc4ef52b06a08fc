/* What Wayfare programs in C call: messages, and what a program may know about where it runs.
 *
 * A program is an ordinary WASI preview 1 command. Being moved needs nothing of this: whatever a program waits for in
 * here, it goes on waiting for on the other engine, with what is left of the time.
 *
 * Version 1 (the name of the import module). Every function returns 0 or one of WASI preview 1's error numbers:
 *    2 EACCES      the broker refused the subscription
 *    6 EAGAIN      nothing is there, and the timeout was 0
 *   28 EINVAL      no topic, no filter, no alias, or no request that can still be replied to
 *   35 EMSGSIZE    the payload is over 120 KiB with its id, or the transfer over 4096 bytes
 *   42 ENOBUFS     more than 1024 subscriptions
 *   61 EOVERFLOW   the buffer is too small; *length says what is needed, and nothing was taken
 *   73 ETIMEDOUT   the time was over
 *   76 ENOTCAPABLE it was not granted when the program was run; its log says what would grant it
 * Topics and filters are UTF-8 with a length in bytes, at most 1024, and need no final zero. Times are in milliseconds of the
 * program's own clock, which stands still while it is moved or paused; below zero is for ever. */
#ifndef WAYFARE_H
#define WAYFARE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef __wasm__
#define WAYFARE_CALL(name) __attribute__((import_module("wayfare_v1"), import_name(#name)))
#else
#define WAYFARE_CALL(name) /* there to be read, for editors and checks: only engines have these */
#endif

enum {
    WAYFARE_AT_LEAST_ONCE = 1, /* otherwise at most once */
    WAYFARE_RETAIN = 2,        /* the broker keeps it for whoever subscribes later */
    WAYFARE_PLAIN = 4,         /* without the id by which receivers that use this API drop repeats */
};

/* What wayfare_receive and wayfare_await_reply write: this, then topic, reply topic and payload. Little-endian, as is
 * WebAssembly. */
struct wayfare_message {
    uint32_t topic_bytes;
    uint32_t reply_to_bytes; /* 0: nobody waits for a reply */
    uint32_t payload_bytes;
    uint32_t flags;     /* 1: retained; 2: it carried an id, and the next two are set; 4, 8, 16: see calls below */
    uint8_t sender[16]; /* the program that sent it */
    uint64_t number;    /* counts what the sender has published in its life */
};

/* Messages to topics that the filter matches; waits until the broker has granted it. flags: WAYFARE_AT_LEAST_ONCE. */
WAYFARE_CALL(subscribe) int32_t wayfare_subscribe(const char *filter, size_t length, int32_t flags);
WAYFARE_CALL(unsubscribe) int32_t wayfare_unsubscribe(const char *filter, size_t length);

/* Waits while too many messages are on their way, or the granted rate is reached. */
WAYFARE_CALL(publish)
int32_t wayfare_publish(const char *topic, size_t length, const void *payload, size_t bytes, int32_t flags);

/* The next message. One that does not fit stays. */
WAYFARE_CALL(receive)
int32_t wayfare_receive(int64_t timeout_ms, void *buffer, size_t room, uint32_t *length);

/* Publishes a request; then wait for its reply. Only the last request's reply is waited for. */
WAYFARE_CALL(request)
int32_t wayfare_request(const char *topic, size_t length, const void *payload, size_t bytes);
WAYFARE_CALL(await_reply)
int32_t wayfare_await_reply(int64_t timeout_ms, void *buffer, size_t room, uint32_t *length);

/* To a request that was received, once: its reply topic and number. */
WAYFARE_CALL(reply)
int32_t wayfare_reply(const char *reply_to, size_t length, uint64_t number, const void *payload, size_t bytes);

/* 16 bytes, the same for the program's whole life. */
WAYFARE_CALL(program_id) int32_t wayfare_program_id(uint8_t id[16]);

/* The name of the engine that the program runs on now. */
WAYFARE_CALL(engine_id) int32_t wayfare_engine_id(char *buffer, size_t room, uint32_t *length);

/* 1: the program was moved, or restored elsewhere, since this was last asked. */
WAYFARE_CALL(was_moved) int32_t wayfare_was_moved(void);

/* Values that outlive the program, kept by the fleet's dispatcher, durably when the call returns. A key, at most 256 bytes of UTF-8, is the
 * program's own, by its name; or it begins with '/', is shared, and has to be granted with --allow-state. A value has at most 64 KiB. The
 * version is another one whenever the value was set; 0 is that of a value that is not there. Besides the errors above: 10, the version is
 * another by now; 29, no dispatcher answered for 30 s, and what was to be done may have been done or not; 44, there is no such value. */
WAYFARE_CALL(state_get)
int32_t wayfare_state_get(const char *key, size_t length, void *buffer, size_t room, uint32_t *bytes, uint64_t *version);
WAYFARE_CALL(state_set)
int32_t wayfare_state_set(const char *key, size_t length, const void *value, size_t bytes, uint64_t *version);
WAYFARE_CALL(state_compare_and_set)
int32_t wayfare_state_compare_and_set(const char *key, size_t length, uint64_t expected, const void *value, size_t bytes, uint64_t *version);
WAYFARE_CALL(state_remove) int32_t wayfare_state_remove(const char *key, size_t length);

/* Programs that call each other. A service has a name, at most 64 of a-z A-Z 0-9 . _ -, and is granted with --allow-serve; an address is
 * service/NAME, or program/NAME or program/ID of a program that serves anything, and is granted with --allow-call.
 *
 * Calls come through wayfare_receive, with the flag 4: the topic is the address that was called and the function, with a space between them, and
 * the payload has the arguments. wayfare_answer takes their reply topic and number, once: kind 0 with the result, or one of the kinds below with
 * a text (UTF-8) that says why. */
enum {
    WAYFARE_DONE = 0,
    WAYFARE_NOT_FOUND = 1,         /* the provider has no such function */
    WAYFARE_UNAVAILABLE = 2,       /* the provider is gone: whether it was done is not known */
    WAYFARE_DEADLINE_EXCEEDED = 3, /* no answer came in time: whether it was done is not known */
    WAYFARE_CANCELLED = 4,
    WAYFARE_REFUSED = 5,
    WAYFARE_CONFLICT = 6,
    WAYFARE_TOO_LARGE = 7,
    WAYFARE_EXPIRED = 8,
    WAYFARE_FAILED = 9,
    WAYFARE_ENDED = 10,            /* the receiver of a message has ended before it took it */
    WAYFARE_PROGRESS = 100,        /* only from wayfare_next_reply: no end, but how far a call is that asked for this */
};
#define WAYFARE_ANY_CALL UINT64_MAX

WAYFARE_CALL(serve) int32_t wayfare_serve(const char *name, size_t length);
WAYFARE_CALL(answer)
int32_t wayfare_answer(const char *reply_to, size_t length, uint64_t number, int32_t kind, const void *payload, size_t bytes);

/* Begins a call, and gives its number: at once where a provider is known, otherwise it waits for one. 42: 128 calls are open, or 64 addresses
 * were called; 44: nobody has served the address until the deadline, and the call was not made. The deadline is not below zero. */
WAYFARE_CALL(call)
int32_t wayfare_call(const char *address, size_t length, const char *function, size_t function_length, const void *arguments, size_t bytes, int64_t deadline_ms, uint64_t *number);

/* The same import does what came later than it: with an action as address, as a line of /wayfare/out has it but for "id" and "payload", and no
 * function. The payload is what the arguments are; the number is that of what was begun, or 0. The actions are call, send, cancel (with
 * the number as "call"), progress, hand_on ("to" is the number and the reply topic, with a space between them), listen, attend,
 * handled, serve (with a schema as payload), and those of wayfare_ready and what follows it; the book's page "Lines" has their fields: "choose" of call says which of several providers is called, such as least-cpu.
 * Engines of earlier releases return 28. Two more fields of attend are for this
 * interface: "about" has topics of messages to addresses followed by their type and key, each behind a newline, with the flag 16; and
 * "reply", a call's number, lets wayfare_receive return 27 when that has an end or progress. With "cancels", wayfare_receive tells of a
 * call that was cancelled with the flag 8, that call's reply topic and number, and no payload.
 *
 * Waits for the end of a call, or of any. Writes a struct wayfare_outcome, then the result or the text. 28: no such call is open. */
WAYFARE_CALL(next_reply)
int32_t wayfare_next_reply(uint64_t number, int64_t timeout_ms, void *buffer, size_t room, uint32_t *length);

struct wayfare_outcome {
    uint64_t number;
    uint32_t kind;
    uint32_t payload_bytes;
};

/* What a program says of itself. Where its manifest has "health", a roll-out waits until it is ready, and an instance that does not
 * say in time that it is healthy is started anew. Within a hold it is neither moved nor replaced, for at most so long and never for more
 * than five minutes. Texts end with a zero, and have at most 200 bytes. Engines of earlier releases return 28. */
static inline int32_t wayfare_says(const char *what, const char *name, const char *reason, uint64_t milliseconds)
{
    char action[512];
    size_t length = 0;
    uint64_t number;
    const char *parts[] = { "{\"do\":\"", what, "\"", reason ? ",\"reason\":\"" : "" };
    for (size_t part = 0; part < sizeof parts / sizeof *parts; part++)
        for (const char *c = parts[part]; *c; c++)
            action[length++] = *c;
    if (reason) {
        for (size_t at = 0; reason[at] && at < 200; at++)
            if ((unsigned char)reason[at] >= 0x20 && reason[at] != '"' && reason[at] != '\\')
                action[length++] = reason[at];
        action[length++] = '"';
    }
    if (name) {
        char digits[20];
        size_t count = 0;
        action[length++] = ',';
        action[length++] = '"';
        for (const char *c = name; *c; c++)
            action[length++] = *c;
        action[length++] = '"';
        action[length++] = ':';
        do {
            digits[count++] = (char)('0' + milliseconds % 10);
            milliseconds /= 10;
        } while (milliseconds);
        while (count)
            action[length++] = digits[--count];
    }
    action[length++] = '}';
    return wayfare_call(action, length, "", 0, "", 0, 0, &number);
}

/* It is ready for work. */
static inline int32_t wayfare_ready(void)
{
    return wayfare_says("ready", 0, 0, 0);
}

/* It is ready, and well for so long; then it is to say so again. */
static inline int32_t wayfare_healthy(uint64_t for_ms)
{
    return wayfare_says("healthy", "for_ms", 0, for_ms);
}

static inline int32_t wayfare_hold(const char *reason, uint64_t at_most_ms)
{
    return wayfare_says("hold", "at_most_ms", reason, at_most_ms);
}

static inline int32_t wayfare_release(void)
{
    return wayfare_says("release", 0, 0, 0);
}

/* As wayfare_serve, with a schema: a JSON object that says what functions there are, and JSON Schemas of what they take and give; the book's
 * page "Calls" has its fields. At most 32 KiB for all services of a program. 28: it is no JSON object, or the engine is of an earlier
 * release. */
static inline int32_t wayfare_serve_with(const char *name, size_t length, const char *schema, size_t bytes)
{
    static const char before[] = "{\"do\":\"serve\",\"name\":\"";
    char action[sizeof before + 66];
    uint64_t number;
    size_t at = 0;
    if (length > 64)
        return 28;
    for (size_t from = 0; before[from]; from++)
        action[at++] = before[from];
    for (size_t from = 0; from < length; from++) {
        /* No name has these, and they would end the text. */
        if ((unsigned char)name[from] < 0x20 || name[from] == '"' || name[from] == '\\')
            return 28;
        action[at++] = name[from];
    }
    action[at++] = '"';
    action[at++] = '}';
    return wayfare_call(action, at, "", 0, schema, bytes, 0, &number);
}

/* A message to one program at the address, which gets it with the address as its topic; waits for one to be there. */
WAYFARE_CALL(send)
int32_t wayfare_send(const char *address, size_t length, const void *payload, size_t bytes, int64_t timeout_ms);

/* Devices, by the alias that the engine's configuration has for them: at most 32 bytes, no final zero. The program needs a grant for each,
 * and runs only on engines that have them. Levels are active (1) or not (0), whatever voltage that is. A level that was set is set
 * again wherever the program goes on; while it stands still its outputs are released, and nothing is heard. Besides the errors above: 10,
 * another program has the device; 29, the device did not do it, and the program's log says why; 43, the engine has no such device; 59, it is of
 * another kind than the call is for. */
WAYFARE_CALL(gpio_write) int32_t wayfare_gpio_write(const char *alias, size_t length, int32_t active);
WAYFARE_CALL(gpio_read) int32_t wayfare_gpio_read(const char *alias, size_t length, uint32_t *active);

/* The next edge since the line was last read or waited for: 1 rising, 2 falling; edges: 1, 2 or 3 for both. */
WAYFARE_CALL(gpio_wait)
int32_t wayfare_gpio_wait(const char *alias, size_t length, int32_t edges, int64_t timeout_ms, uint32_t *edge);

/* As the converter gives it, and in millivolts, milliamperes or thousandths of a degree Celsius. */
WAYFARE_CALL(adc_read) int32_t wayfare_adc_read(const char *alias, size_t length, int64_t *raw, double *scaled);

/* Writes, then reads, with a repeated start; either may have no bytes, neither more than 4096. */
WAYFARE_CALL(i2c_transfer)
int32_t wayfare_i2c_transfer(const char *alias, size_t length, const void *write, size_t written, void *read, size_t room);

/* Writes and reads at the same time; at most 4096 bytes. */
WAYFARE_CALL(spi_transfer)
int32_t wayfare_spi_transfer(const char *alias, size_t length, const void *write, void *read, size_t bytes);

/* Sends at least one byte, waiting while there is no room; *sent says how many. */
WAYFARE_CALL(serial_write)
int32_t wayfare_serial_write(const char *alias, size_t length, const void *data, size_t bytes, uint32_t *sent);

/* Waits for at least one byte; *count says how many were written to the buffer. */
WAYFARE_CALL(serial_read)
int32_t wayfare_serial_read(const char *alias, size_t length, int64_t timeout_ms, void *buffer, size_t room, uint32_t *count);

#ifdef __cplusplus
}
#endif
#endif
