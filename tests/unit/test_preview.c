/* The first words of a message: what a reader would see, nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mail/preview.h"

#define TYPE(t) "Content-Type: " t "\r\n"
#define HTML TYPE("text/html; charset=utf-8") "\r\n"

static const struct {
    const char *text, *expected;
} rows[] = {
    {"", ""},
    {"Subject: x\r\n", ""},
    {"Subject: x\r\n\r\nHello,\r\n\r\n  how\tare you?  \r\n", "Hello, how are you?"},
    {TYPE("application/pdf") "\r\nJVBERi0\r\n", ""},
    {TYPE("text/plain; charset=iso-8859-1") "\r\nGr\xfc\xdf\x65\r\n", "Gr\xc3\xbc\xc3\x9f\x65"},
    {TYPE("text/plain; charset=utf-8") "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
                                       "Gr=C3=BC=C3=9Fe aus=20=\r\nBonn",
        "Gr\xc3\xbc\xc3\x9f\x65 aus Bonn"},
    {TYPE("text/plain; charset=utf-8") "Content-Transfer-Encoding: base64\r\n\r\nSGVsbG8sIHdvcmxkIQ==\r\n",
        "Hello, world!"},
    {TYPE("text/plain; charset=utf-8") "\r\nbad \xff octet, cut \xe2\x82",
        "bad \xef\xbf\xbd octet, cut \xef\xbf\xbd"},
    {"\r\nan \x1b[31mescape\x07 and \x7f", "an [31mescape and"},
    /* the first part that is text */
    {TYPE("multipart/mixed; boundary=x") "\r\npreamble\r\n--x\r\n" TYPE(
         "image/png") "\r\nPNG\r\n--x\r\n" TYPE("text/plain") "Content-Disposition: attachment; "
                                                              "filename=a\r\n\r\nfile\r\n--x\r\n\r\nbody\r\n-"
                                                              "-x--\r\n",
        "body"},
    {TYPE("multipart/alternative; boundary=x") "\r\n--x\r\n\r\nplain\r\n--x\r\n" HTML
                                               "<p>html</p>\r\n--x--\r\n",
        "plain"},
    {TYPE("message/rfc822") "\r\n" TYPE("text/plain") "\r\ninside\r\n", "inside"},
    /* HTML */
    {HTML "<html><head><title>no</title><style>p {x: '<b>'}</style></head><body>"
          "<!-- no <p> --><p>One</p><p>t<b>w</b>o</p></body></html>",
        "One two"},
    {HTML "<STYLE type=\"text/css\">a > b</STYLE ><script>if (a<b) x();</script >seen", "seen"},
    {HTML "<a title=\"a > b\">x &amp; y &lt;z&gt; &eacute;&#233;&#xe9; &nbsp;&euro;&unknown; &#xd800; &", //
        "x & y <z> \xc3\xa9\xc3\xa9\xc3\xa9 \xe2\x82\xac&unknown; &#xd800; &"},
    {HTML "1 < 2 <br/>3<br>4 <", "1 < 2 3 4 <"},
    {HTML "<!-- never closed", ""},
    {HTML "<p title='never closed", ""},
    {HTML "<style>never closed", ""},
    {HTML "fill&zwnj;&nbsp;\xe2\x80\x8c\xcd\x8f\xef\xbb\xbf ed", "fill ed"},
};

static size_t preview(struct slice text, struct buf *out)
{
    struct arena arena;
    struct mime_tree t;

    arena_init(&arena, 8 << 20);
    buf_clear(out);
    assert_true(mime_parse(text, &arena, &t));
    preview_write(text, &t, &arena, out);
    arena_free(&arena);
    return out->n;
}

static void table(void **state)
{
    struct buf out = BUF_INIT(PREVIEW_OCTETS_MAX);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        preview(slice_str(rows[i].text), &out);
        assert_string_equal(buf_str(&out), rows[i].expected);
    }
    buf_free(&out);
}

static void length(void **state)
{
    struct buf text = BUF_INIT(1 << 20), out = BUF_INIT(PREVIEW_OCTETS_MAX);

    (void)state;
    /* whole characters, PREVIEW_CHARS of them */
    buf_add_str(&text, TYPE("text/plain; charset=utf-8") "\r\n");
    for (int i = 0; i < 1000; i++)
        buf_add_str(&text, "\xe2\x82\xac");
    assert_int_equal(preview(buf_slice(&text), &out), PREVIEW_CHARS * 3);
    /* behind a style sheet that is longer than the first look */
    buf_clear(&text);
    buf_add_str(&text, HTML "<style>");
    for (int i = 0; i < 1000; i++)
        buf_add_str(&text, ".a { color: red }\r\n");
    buf_add_str(&text, "</style>text at last");
    preview(buf_slice(&text), &out);
    assert_string_equal(buf_str(&out), "text at last");
    /* no blank at the end */
    buf_clear(&text);
    buf_add_str(&text, "\r\n");
    for (int i = 0; i < 400; i++)
        buf_add_str(&text, "a ");
    assert_int_equal(preview(buf_slice(&text), &out), PREVIEW_CHARS - 1);
    assert_int_equal(out.p[out.n - 1], 'a');
    buf_free(&text);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(table), cmocka_unit_test(length)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
