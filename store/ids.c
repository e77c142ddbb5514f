#include "store/ids.h"

#include <openssl/sha.h>

#include "mail/header.h"
#include "store/name.h"

#define HASH_OCTETS 12 /* 96 bits */

static struct message_id id_of(char kind, struct slice s)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char hash[SHA256_DIGEST_LENGTH];
    struct message_id id = {{kind}};

    SHA256((const unsigned char *)s.p, s.n, hash);
    for (size_t i = 0; i < HASH_OCTETS; i++) {
        id.text[1 + 2 * i] = digits[hash[i] >> 4];
        id.text[2 + 2 * i] = digits[hash[i] & 15];
    }
    return id;
}

struct message_id emailid_of(const char *file)
{
    struct slice s = slice_str(file);
    struct name name;

    /* of what is no name of ours, or anybody's, all of it counts */
    return id_of('M', name_origin(name_parse(s, 0, &name) ? name.unique : s));
}

struct message_id threadid_of(struct slice header, const char *file)
{
    static const struct slice names[] = {{"References", 10}, {"In-Reply-To", 11}, {"Message-ID", 10}};
    struct header_field field;
    struct slice rest, id;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!header_find(header, names[i], &field))
            continue;
        rest = field.value;
        if (header_msgid_next(&rest, &id))
            return id_of('T', id);
    }
    return id_of('T', slice_str(emailid_of(file).text));
}
