#include "admin/args.h"

#include <stdio.h>
#include <string.h>

#define WORDS_MAX (ARGS_MAX + 4)
#define WORD_MAX 40 /* of what is compared; longer is no typo of ours */
#define NAMES_MAX 64

/* --- did you mean --- */

static size_t least_of(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;

    return m < c ? m : c;
}

/* Letters left out, added, changed, or two neighbours swapped. */
static size_t distance(struct slice a, struct slice b)
{
    size_t before[WORD_MAX + 1], last[WORD_MAX + 1], row[WORD_MAX + 1];

    for (size_t j = 0; j <= b.n; j++)
        last[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t change = a.p[i - 1] == b.p[j - 1] ? 0 : 1;

            row[j] = least_of(last[j] + 1, row[j - 1] + 1, last[j - 1] + change);
            if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] &&
                before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
        memcpy(before, last, sizeof before);
        memcpy(last, row, sizeof last);
    }
    return last[b.n];
}

const char *args_nearest(const char *word, const char *const *names, size_t count)
{
    struct slice w = slice_str(word);
    const char *best = NULL;
    size_t least = SIZE_MAX;

    if (w.n == 0 || w.n > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        struct slice name = slice_str(names[i]);
        size_t far;

        if (name.n > WORD_MAX)
            continue;
        far = w.n >= 2 && slice_starts(name, w) ? 1 : distance(w, name);
        if (far < least && far <= 1 + name.n / 4 && far < name.n) {
            least = far;
            best = names[i];
        }
    }
    return best;
}

/* The sentence for a word that is none of names; what: "noun", "verb of account", "flag". */
static enum err_code unknown(struct fault *f, const char *what, const char *word, const char *const *names,
    size_t count, const char *help)
{
    const char *bare = word + strspn(word, "-"), *meant = args_nearest(bare, names, count);
    char fix[200];

    if (meant)
        snprintf(fix, sizeof fix, "did you mean \"%s%s\"?", *word == '-' ? "--" : "", meant);
    else
        snprintf(fix, sizeof fix, "see: %s", help);
    return fault_set(f, ERR_USAGE, fix, "\"%.80s\" is no %s", word, what);
}

/* --- flags --- */

static int flag_find(struct slice name)
{
    for (int i = 0; i < FLAG_COUNT; i++)
        if (slice_eq(name, slice_str(flag_rows[i].name)))
            return i;
    return -1;
}

/* A word that begins with "-"; *next is the word behind it, taken (set to NULL) when it is the flag's value.
 */
static enum err_code read_flag(struct args *a, const char *word, const char **next, struct fault *f)
{
    const char *value = strchr(word, '=');
    struct slice name = value ? slice_of(word, (size_t)(value - word)) : slice_str(word);
    const struct flag_row *row;
    int i = slice_eq(name, SLICE("-h"))       ? FLAG_HELP
            : slice_starts(name, SLICE("--")) ? flag_find(slice_from(name, 2))
                                              : -1;

    if (i < 0) {
        const char *names[FLAG_COUNT];
        char written[WORD_MAX + 3];

        for (int k = 0; k < FLAG_COUNT; k++)
            names[k] = flag_rows[k].name;
        snprintf(written, sizeof written, "%.*s", (int)(name.n > WORD_MAX ? WORD_MAX : name.n), name.p);
        return unknown(f, "flag", written, names, FLAG_COUNT, "postamt --help");
    }
    row = &flag_rows[i];
    if (a->flag[i] && row->value)
        return fault_set(f, ERR_USAGE, "write it once", "--%s was given twice", row->name);
    if (!row->value) {
        if (value)
            return fault_set(f, ERR_USAGE, "leave out what follows the =", "--%s takes no value", row->name);
        a->flag[i] = "";
    } else if (value) {
        a->flag[i] = value + 1;
    } else if (*next) {
        a->flag[i] = *next;
        *next = NULL;
    } else {
        char fix[100];

        snprintf(fix, sizeof fix, "write --%s %s", row->name, row->value);
        return fault_set(f, ERR_USAGE, fix, "--%s needs a value", row->name);
    }
    return ERR_OK;
}

/* --json must be known before the first complaint is written, wherever it stands. */
static void look_for_json(struct args *a, int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            a->flag[FLAG_JSON] = "";
}

/* --- words --- */

static enum err_code find_verb(struct args *a, const char *word, struct fault *f)
{
    const char *names[NAMES_MAX];
    char what[40], help[60];
    size_t n = 0;

    a->verb = verb_find(a->noun, word);
    if (a->verb)
        return ERR_OK;
    for (const struct verb *v = verbs; v->noun && n < NAMES_MAX; v++)
        if (strcmp(v->noun, a->noun) == 0 && v->name)
            names[n++] = v->name;
    snprintf(what, sizeof what, "verb of %.20s", a->noun);
    snprintf(help, sizeof help, "postamt %.20s --help", a->noun);
    if (!word) {
        char fix[70];

        snprintf(fix, sizeof fix, "see: %s", help);
        return fault_set(f, ERR_USAGE, fix, "%s needs a verb", a->noun);
    }
    return unknown(f, what, word, names, n, help);
}

static enum err_code find_noun(struct args *a, const char *word, struct fault *f)
{
    const char *names[NAMES_MAX];
    const struct noun *noun = noun_find(word);
    size_t n = 0;

    if (noun) {
        a->noun = noun->name;
        return ERR_OK;
    }
    for (noun = nouns; noun->name && n < NAMES_MAX; noun++)
        names[n++] = noun->name;
    return unknown(f, "noun", word, names, n, "postamt --help");
}

static enum err_code check_objects(struct args *a, const char **word, size_t n, struct fault *f)
{
    const struct verb *v = a->verb;
    char fix[200];

    snprintf(fix, sizeof fix, "write: postamt %s%s%s%s%s", v->noun, v->name ? " " : "",
        v->name ? v->name : "", *v->arguments ? " " : "", v->arguments);
    if (n < v->least)
        return fault_set(f, ERR_USAGE, fix, "something is missing");
    if (n > v->most)
        return fault_set(f, ERR_USAGE, fix, "\"%.80s\" is too much", word[v->most]);
    for (size_t i = 0; i < n; i++)
        a->object[a->nobjects++] = word[i];
    return ERR_OK;
}

static enum err_code check_flags(const struct args *a, struct fault *f)
{
    unsigned good = FLAGS_ALL | a->verb->flags;

    for (int i = 0; i < FLAG_COUNT; i++) {
        char fix[120];

        if (!a->flag[i] || (good & FLAG_BIT(i)))
            continue;
        snprintf(fix, sizeof fix, "see: postamt %s%s%s --help", a->noun, a->verb->name ? " " : "",
            a->verb->name ? a->verb->name : "");
        return fault_set(f, ERR_USAGE, fix, "%s%s%s does not take --%s", a->noun, a->verb->name ? " " : "",
            a->verb->name ? a->verb->name : "", flag_rows[i].name);
    }
    if (a->flag[FLAG_JSON] && a->flag[FLAG_PLAIN])
        return fault_set(f, ERR_USAGE, "choose one", "--json and --plain exclude each other");
    if (a->flag[FLAG_GENERATE] && a->flag[FLAG_HASH])
        return fault_set(f, ERR_USAGE, "choose one", "--generate and --hash exclude each other");
    return ERR_OK;
}

static enum err_code read_words(struct args *a, const char **word, size_t n, struct fault *f)
{
    enum err_code code;

    /* NOLINTNEXTLINE(clang-analyzer-core.*): argv ends with its count */
    if (n > 0 && strcmp(word[0], "help") == 0) {
        a->flag[FLAG_HELP] = "";
        word++;
        n--;
    }
    if (n == 0)
        return a->flag[FLAG_HELP] || a->flag[FLAG_VERSION]
                   ? ERR_OK
                   : fault_set(f, ERR_USAGE, "see: postamt --help", "no noun was given");
    if ((code = find_noun(a, word[0], f)) != ERR_OK)
        return code;
    word++;
    n--;
    if (verb_find(a->noun, NULL) && !verb_find(a->noun, NULL)->name) { /* the noun is the verb */
        a->verb = verb_find(a->noun, NULL);
    } else if (n == 0 && a->flag[FLAG_HELP]) {
        return ERR_OK;
    } else {
        if ((code = find_verb(a, n ? word[0] : NULL, f)) != ERR_OK)
            return code;
        if (n) {
            word++;
            n--;
        }
    }
    if (a->flag[FLAG_HELP])
        return ERR_OK;
    if ((code = check_objects(a, word, n, f)) != ERR_OK)
        return code;
    return check_flags(a, f);
}

enum err_code args_parse(struct args *a, int argc, char **argv, struct fault *f)
{
    const char *word[WORDS_MAX];
    size_t n = 0;
    bool flags = true;

    *a = (struct args){0};
    look_for_json(a, argc, argv);
    for (int i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        bool had_next = next != NULL;
        enum err_code code;

        /* NOLINTNEXTLINE(clang-analyzer-core.*): argv ends with its count */
        if (flags && strcmp(argv[i], "--") == 0) {
            flags = false;
        } else if (flags && argv[i][0] == '-' && argv[i][1] != '\0') {
            if ((code = read_flag(a, argv[i], &next, f)) != ERR_OK)
                return code;
            if (had_next && !next)
                i++;
        } else if (n == WORDS_MAX) {
            return fault_set(f, ERR_USAGE, "see: postamt --help", "there are too many words");
        } else {
            word[n++] = argv[i];
        }
    }
    return read_words(a, word, n, f);
}
