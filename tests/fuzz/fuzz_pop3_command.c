/*
 * Lines of POP3 commands: whatever they hold, the parser answers, and what it lets pass is within its shape.
 */
#include <stddef.h>
#include <stdint.h>

#include "common/mem.h"
#include "pop3d/pop3.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_of(data, size), line;

    while (slice_cut(&rest, '\n', &line)) {
        const struct pop3_command *row;
        struct pop3_arguments args;
        enum pop3_parse got = pop3_parse(line, &row, &args);

        INVARIANT((row != NULL) == (got == POP3_PARSED || got == POP3_BAD_ARGUMENTS));
        INVARIANT(args.has_message || args.message == 0);
        if (got != POP3_PARSED)
            continue;
        INVARIANT(row->shape == POP3_MAY_MESSAGE || args.has_message == (row->shape != POP3_NOTHING));
        INVARIANT(row->shape == POP3_MESSAGE_LINES || args.lines == 0);
    }
    return 0;
}
