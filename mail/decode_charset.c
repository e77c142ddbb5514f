#include <errno.h>
#include <iconv.h>
#include <string.h>

#include "common/ascii.h"
#include "mail/decode.h"
#include "mail/text.h"

#define NO_HANDLE ((iconv_t)-1)

/*
 * Nothing but these is ever asked of iconv: a name out of a message would decide which file is loaded, and
 * some converters (ISO-2022-CN-EXT, the IBM ones with shifts) have a history.
 */
const char *const decode_charsets[] = {"ISO-8859-1", "ISO-8859-2", "ISO-8859-3", "ISO-8859-4", "ISO-8859-5",
    "ISO-8859-6", "ISO-8859-7", "ISO-8859-8", "ISO-8859-9", "ISO-8859-10", "ISO-8859-11", "ISO-8859-13",
    "ISO-8859-14", "ISO-8859-15", "ISO-8859-16", "windows-1250", "windows-1251", "windows-1252",
    "windows-1253", "windows-1254", "windows-1255", "windows-1256", "windows-1257", "windows-1258",
    "windows-874", "KOI8-R", "KOI8-U", "ISO-2022-JP", "ISO-2022-JP-2", "Shift_JIS", "EUC-JP", "EUC-KR",
    "ISO-2022-KR", "GB2312", "GBK", "GB18030", "Big5", "Big5-HKSCS", "EUC-TW", "UTF-7", "UTF-16", "UTF-16LE",
    "UTF-16BE", "UTF-32", "UTF-32LE", "UTF-32BE", "macintosh", "mac-cyrillic", "IBM437", "IBM850", "IBM852",
    "IBM866", "TIS-620", "VISCII", NULL};

#define CHARSETS (sizeof decode_charsets / sizeof *decode_charsets - 1)

/* Other names in use; '-', '_', ' ' and the case do not count in any name. */
static const char *const aliases[][2] = {{"latin1", "ISO-8859-1"}, {"l1", "ISO-8859-1"},
    {"iso-8859-1:1987", "ISO-8859-1"}, {"8859-1", "ISO-8859-1"}, {"latin2", "ISO-8859-2"},
    {"latin3", "ISO-8859-3"}, {"latin4", "ISO-8859-4"}, {"cyrillic", "ISO-8859-5"}, {"arabic", "ISO-8859-6"},
    {"iso-8859-6-i", "ISO-8859-6"}, {"iso-8859-6-e", "ISO-8859-6"}, {"greek", "ISO-8859-7"},
    {"hebrew", "ISO-8859-8"}, {"iso-8859-8-i", "ISO-8859-8"}, {"iso-8859-8-e", "ISO-8859-8"},
    {"latin5", "ISO-8859-9"}, {"latin6", "ISO-8859-10"}, {"latin9", "ISO-8859-15"},
    {"cp1250", "windows-1250"}, {"cp1251", "windows-1251"}, {"cp1252", "windows-1252"},
    {"ansi", "windows-1252"}, {"cp1253", "windows-1253"}, {"cp1254", "windows-1254"},
    {"cp1255", "windows-1255"}, {"cp1256", "windows-1256"}, {"cp1257", "windows-1257"},
    {"cp1258", "windows-1258"}, {"cp874", "windows-874"}, {"x-cp1250", "windows-1250"},
    {"x-cp1251", "windows-1251"}, {"x-cp1252", "windows-1252"}, {"koi8", "KOI8-R"}, {"x-koi8-r", "KOI8-R"},
    {"koi8-ru", "KOI8-U"}, {"sjis", "Shift_JIS"}, {"x-sjis", "Shift_JIS"}, {"ms_kanji", "Shift_JIS"},
    {"cp932", "Shift_JIS"}, {"windows-31j", "Shift_JIS"}, {"x-euc-jp", "EUC-JP"},
    {"ks_c_5601-1987", "EUC-KR"}, {"ks_c_5601", "EUC-KR"}, {"ksc5601", "EUC-KR"}, {"cp949", "EUC-KR"},
    {"uhc", "EUC-KR"}, {"windows-949", "EUC-KR"}, {"euc-cn", "GB2312"}, {"gb_2312-80", "GB2312"},
    {"chinese", "GB2312"}, {"cp936", "GBK"}, {"x-gbk", "GBK"}, {"windows-936", "GBK"}, {"x-x-big5", "Big5"},
    {"cp950", "Big5"}, {"unicode-1-1-utf-7", "UTF-7"}, {"ucs-2", "UTF-16"}, {"unicode", "UTF-16LE"},
    {"mac", "macintosh"}, {"x-mac-roman", "macintosh"}, {"macroman", "macintosh"},
    {"x-mac-cyrillic", "mac-cyrillic"}, {"cp437", "IBM437"}, {"cp850", "IBM850"}, {"cp852", "IBM852"},
    {"cp866", "IBM866"}, {"dos-862", "ISO-8859-8"}};

/*
 * Where mail says less than it holds, the superset is what decodes it; and where glibc has another name for
 * it.
 */
static const char *const iconv_names[][2] = {{"Shift_JIS", "CP932"}, {"EUC-KR", "UHC"}, {"GB2312", "GB18030"},
    {"GBK", "GB18030"}, {"windows-874", "CP874"}, {"windows-1250", "CP1250"}, {"windows-1251", "CP1251"},
    {"windows-1252", "CP1252"}, {"windows-1253", "CP1253"}, {"windows-1254", "CP1254"},
    {"windows-1255", "CP1255"}, {"windows-1256", "CP1256"}, {"windows-1257", "CP1257"},
    {"windows-1258", "CP1258"}, {"UTF-16", "UTF-16BE"}, {"UTF-32", "UTF-32BE"}};

/* Names that all mean: ASCII, and UTF-8 where it is well-formed. */
static const char *const utf8_names[] = {"utf-8", "us-ascii", "ascii", "unicode-1-1-utf-8", "x-utf-8",
    "ansi_x3.4-1968", "iso646-us", "646", "cp65001", "utf-8-mac", "iso-10646-utf-8"};

enum { UTF8_ROW = -1, NO_ROW = -2 };

static struct {
    iconv_t handle;
    bool tried;
} handles[CHARSETS];

static bool is_filler(char c)
{
    return c == '-' || c == '_' || c == ' ';
}

static bool name_eq(struct slice a, const char *z)
{
    struct slice b = slice_str(z);
    size_t i = 0, k = 0;

    for (;;) {
        while (i < a.n && is_filler(a.p[i]))
            i++;
        while (k < b.n && is_filler(b.p[k]))
            k++;
        if (i == a.n || k == b.n)
            return i == a.n && k == b.n;
        if (ascii_lower(a.p[i++]) != ascii_lower(b.p[k++]))
            return false;
    }
}

/* Index into decode_charsets, or UTF8_ROW or NO_ROW. */
static int row_of(struct slice name)
{
    name = slice_trim(name);
    for (size_t i = 0; i < sizeof utf8_names / sizeof *utf8_names; i++)
        if (name_eq(name, utf8_names[i]))
            return UTF8_ROW;
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++) {
        if (name_eq(name, aliases[i][0])) {
            name = slice_str(aliases[i][1]);
            break;
        }
    }
    for (size_t i = 0; i < CHARSETS; i++)
        if (name_eq(name, decode_charsets[i]))
            return (int)i;
    return NO_ROW;
}

static iconv_t handle_of(size_t row)
{
    const char *name = decode_charsets[row];

    if (!handles[row].tried) {
        for (size_t i = 0; i < sizeof iconv_names / sizeof *iconv_names; i++)
            if (strcmp(name, iconv_names[i][0]) == 0)
                name = iconv_names[i][1];
        handles[row].handle = iconv_open("UTF-8", name);
        handles[row].tried = true;
    }
    return handles[row].handle;
}

void decode_preload(void)
{
    for (size_t i = 0; i < CHARSETS; i++)
        handle_of(i);
}

bool decode_charset_known(struct slice name)
{
    int row = row_of(name);

    return row == UTF8_ROW || (row != NO_ROW && handle_of((size_t)row) != NO_HANDLE);
}

/* Octets of the smallest unit, and so what an ill-formed one costs. */
static size_t unit_of(int row)
{
    const char *name = decode_charsets[row];

    return strncmp(name, "UTF-16", 6) == 0 ? 2 : strncmp(name, "UTF-32", 6) == 0 ? 4 : 1;
}

/* UTF-16 and UTF-32 without LE or BE: a byte order mark tells; without one it is BE (RFC 2781 4.3). */
static int row_by_mark(int row, struct slice *in)
{
    static const struct {
        const char *name;
        struct slice mark;
        const char *is;
    } marks[] = {
        {"UTF-16", {"\xff\xfe", 2}, "UTF-16LE"},
        {"UTF-16", {"\xfe\xff", 2}, "UTF-16BE"},
        {"UTF-32", {"\xff\xfe\0\0", 4}, "UTF-32LE"},
        {"UTF-32", {"\0\0\xfe\xff", 4}, "UTF-32BE"},
    };

    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (strcmp(decode_charsets[row], marks[i].name) == 0 && slice_starts(*in, marks[i].mark)) {
            *in = slice_from(*in, marks[i].mark.n);
            return row_of(slice_str(marks[i].is));
        }
    }
    return row;
}

/* Through iconv in steps of a small buffer, so that a converter's output never grows beyond what `out` takes.
 */
static void convert(iconv_t cd, size_t unit, struct slice in, struct buf *out)
{
    char *from = (char *)in.p; /* iconv's interface; it does not write there */
    char piece[4096];
    size_t left = in.n;

    iconv(cd, NULL, NULL, NULL, NULL);
    while (!out->full) {
        char *to = piece;
        size_t room = sizeof piece, before = left, made;
        size_t result = iconv(cd, left ? &from : NULL, left ? &left : NULL, &to, &room);
        int error = result == (size_t)-1 ? errno : 0;

        made = sizeof piece - room;
        text_add(out, slice_of(piece, made));
        if (error == 0 && before == 0)
            break; /* that was the flush of the converter's state */
        if (error == EILSEQ || error == EINVAL || (error != 0 && made == 0 && before == left)) {
            /* EINVAL: cut at the end. The last case: a converter that does not move must not hold us */
            size_t skip = error == EINVAL || unit > left ? left : unit;

            text_add_cp(out, TEXT_REPLACEMENT);
            from += skip;
            left -= skip;
            if (before == 0)
                break;
        }
    }
}

void decode_charset(struct slice charset, struct slice in, struct buf *out)
{
    int row = row_of(charset);
    iconv_t cd;

    if (row >= 0) {
        row = row_by_mark(row, &in);
        cd = handle_of((size_t)row);
        if (cd != NO_HANDLE) {
            convert(cd, unit_of(row), in, out);
            return;
        }
    }
    if (row == UTF8_ROW) {
        text_add(out, in);
        return;
    }
    for (size_t i = 0; i < in.n && !out->full;) {
        size_t from = i;

        while (i < in.n && !ascii_is_8bit(in.p[i]))
            i++;
        text_add_octets(out, slice_sub(in, from, i - from));
        if (i < in.n) {
            text_add_cp(out, TEXT_REPLACEMENT);
            i++;
        }
    }
}
