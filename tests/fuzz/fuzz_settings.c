/* Any text: settings or complaints, never both, never neither; what was taken can be shown. */
#include <stdlib.h>

#include "common/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf out = BUF_INIT(BUF_OWN);
    struct settings *s = settings_parse(slice_of(data, size), "fuzz", &out);

    if ((s == NULL) != (out.n > 0))
        abort();
    if (s != NULL)
        settings_diff(s, &out);
    settings_free(s);
    buf_free(&out);
    return 0;
}
