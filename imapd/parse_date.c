/* Dates of IMAP: date-time of APPEND and FETCH, date of SEARCH (RFC 3501 9). */
#include "imapd/parse.h"

#include "common/ascii.h"

static const char months[12][4] = {
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* Days since 1970-01-01 of a day in the Gregorian calendar; month 1..12. */
static int32_t days_of(int year, int month, int day)
{
    /* years that begin in March: the leap day is the last of its year, so lengths before it are regular */
    int y = month <= 2 ? year - 1 : year;
    int era = (y >= 0 ? y : y - 399) / 400;
    int of_era = y - era * 400;
    int of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void civil_of(int64_t days, int64_t *year, int *month, int *day)
{
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = yoe + era * 400 + (*month <= 2);
}

static bool is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* at least `least`, at most `most` digits */
static bool digits(struct imap_parse *p, size_t least, size_t most, int *out)
{
    size_t n = 0;

    *out = 0;
    while (n < most && n < p->rest.n && ascii_is_digit(p->rest.p[n]))
        *out = *out * 10 + (p->rest.p[n++] - '0');
    p->rest = slice_from(p->rest, n);
    return n >= least;
}

static bool one(struct imap_parse *p, char c)
{
    if (!imap_parse_peek(p, c))
        return false;
    p->rest = slice_from(p->rest, 1);
    return true;
}

/* day "-" month "-" year */
static bool date(struct imap_parse *p, int32_t *days)
{
    static const int lengths[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int day, year, month = 0;

    if (!digits(p, 1, 2, &day) || !one(p, '-'))
        return false;
    while (month < 12 && !slice_eq_nocase(slice_sub(p->rest, 0, 3), slice_of(months[month], 3)))
        month++;
    if (month == 12)
        return false;
    p->rest = slice_from(p->rest, 3);
    if (!one(p, '-') || !digits(p, 4, 4, &year))
        return false;
    if (day < 1 || day > lengths[month] + (month == 1 && is_leap(year)))
        return false;
    *days = days_of(year, month + 1, day);
    return true;
}

static bool date_time(struct imap_parse *p, int64_t *out)
{
    int32_t days;
    int hour, minute, second, zone, sign;

    if (!one(p, '"'))
        return false;
    one(p, ' '); /* date-day-fixed: a blank for days below 10 */
    if (!date(p, &days) || !one(p, ' ') || !digits(p, 2, 2, &hour) || !one(p, ':') ||
        !digits(p, 2, 2, &minute) || !one(p, ':') || !digits(p, 2, 2, &second) || !one(p, ' '))
        return false;
    sign = imap_parse_peek(p, '-') ? -1 : 1;
    if ((!one(p, '+') && !one(p, '-')) || !digits(p, 4, 4, &zone) || !one(p, '"'))
        return false;
    if (hour > 23 || minute > 59 || second > 60 || zone % 100 > 59 || zone / 100 > 23)
        return false;
    *out = (int64_t)days * 86400 + hour * 3600 + minute * 60 + second -
           sign * (zone / 100 * 3600 + zone % 100 * 60);
    return true;
}

bool imap_parse_date_time(struct imap_parse *p, int64_t *out)
{
    return date_time(p, out) ||
           imap_parse_fail(p, "a date and time is written in quotes, as \"23-Nov-2026 23:15:42 +0100\"");
}

bool imap_parse_date(struct imap_parse *p, int32_t *days)
{
    bool quoted = one(p, '"');

    return (date(p, days) && (!quoted || one(p, '"'))) ||
           imap_parse_fail(p, "a date is written as 23-Nov-2026");
}

void imap_write_date_time(struct buf *out, int64_t utc)
{
    int64_t days = (utc >= 0 ? utc : utc - 86399) / 86400, year;
    int rest = (int)(utc - days * 86400), month, day;

    civil_of(days, &year, &month, &day);
    /* the grammar has four digits for the year: what lies outside is a broken clock's */
    if (year < 0 || year > 9999) {
        buf_add_str(out, "\" 1-Jan-1970 00:00:00 +0000\"");
        return;
    }
    buf_printf(out, "\"%2d-%s-%04d %02d:%02d:%02d +0000\"", day, months[month - 1], (int)year, rest / 3600,
        rest / 60 % 60, rest % 60);
}
