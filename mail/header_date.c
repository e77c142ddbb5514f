#include "mail/header.h"

#include "common/ascii.h"
#include "mail/header_lex.h"

static const char months[12][4] = {
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char weekdays[7][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"}; /* from 1 Jan 1970 */

#define YEAR_FIRST INT64_C(-62135596800) /* 0001-01-01T00:00:00Z */
#define YEAR_LAST INT64_C(253402300799)  /* 9999-12-31T23:59:59Z */
#define ZONE_MAX (99 * 60 + 59)          /* RFC 5322 3.3 */

/* Days since 1 Jan 1970 of a day of the Gregorian calendar; month 1 .. 12. Years count from March in it. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t in_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return y * 365 + y / 4 - y / 100 + y / 400 + in_year - 719468;
}

static int days_in_month(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

/* 1 .. max_digits digits; false without any, or with more. *digits: how many there were. */
static bool take_number(struct lex *l, int max_digits, int *out, int *digits)
{
    int v = 0, n = 0;

    for (; l->p < l->end && ascii_is_digit(*l->p); l->p++) {
        if (++n > max_digits)
            return false;
        v = v * 10 + (*l->p - '0');
    }
    *out = v;
    *digits = n;
    return n > 0;
}

static struct slice take_word(struct lex *l)
{
    const char *start = l->p;

    while (l->p < l->end && ascii_is_alpha(*l->p))
        l->p++;
    return slice_of(start, (size_t)(l->p - start));
}

/* [day-of-week ","] day month year, with the obsolete years (RFC 5322 4.3) */
static bool take_day(struct lex *l, int64_t *days)
{
    int day, year, digits, month = 0;
    struct slice word;

    lex_cfws(l, NULL);
    if (take_word(l).n)
        lex_cfws(l, NULL);
    while (lex_is(l, ',')) {
        l->p++;
        lex_cfws(l, NULL);
    }
    if (!take_number(l, 2, &day, &digits))
        return false;
    lex_cfws(l, NULL);
    if (lex_is(l, '-'))
        l->p++;
    word = take_word(l);
    for (int i = 0; i < 12 && word.n >= 3; i++)
        if (slice_eq_nocase(slice_sub(word, 0, 3), slice_str(months[i])))
            month = i + 1;
    lex_cfws(l, NULL);
    if (lex_is(l, '-'))
        l->p++;
    if (month == 0 || !take_number(l, 4, &year, &digits) || digits < 2)
        return false;
    if (digits == 2)
        year += year < 50 ? 2000 : 1900;
    else if (digits == 3)
        year += 1900;
    if (year < 1 || day < 1 || day > days_in_month(year, month))
        return false;
    *days = days_of(year, month, day);
    return true;
}

/* hour ":" minute [":" second]; 0 if there is none that can be read (RFC 5256 2.2) */
static int take_time(struct lex *l)
{
    int hour, minute, second = 0, digits;

    lex_cfws(l, NULL);
    if (!take_number(l, 2, &hour, &digits))
        return 0;
    lex_cfws(l, NULL);
    if (!lex_is(l, ':'))
        return 0;
    l->p++;
    lex_cfws(l, NULL);
    if (!take_number(l, 2, &minute, &digits))
        return 0;
    lex_cfws(l, NULL);
    if (lex_is(l, ':')) {
        l->p++;
        lex_cfws(l, NULL);
        if (!take_number(l, 2, &second, &digits))
            return 0;
    }
    if (hour > 23 || minute > 59 || second > 60)
        return 0;
    return hour * 3600 + minute * 60 + second;
}

/* zone and obs-zone in minutes; 0 for all that says nothing (RFC 5322 4.3) */
static int take_zone(struct lex *l)
{
    static const struct {
        char name[4];
        int hours;
    } zones[] = {{"EST", -5}, {"EDT", -4}, {"CST", -6}, {"CDT", -5}, {"MST", -7}, {"MDT", -6}, {"PST", -8},
        {"PDT", -7}};
    int v, digits;
    struct slice word;

    lex_cfws(l, NULL);
    if (lex_is(l, '+') || lex_is(l, '-')) {
        bool west = *l->p++ == '-';

        if (!take_number(l, 4, &v, &digits) || digits != 4 || v % 100 > 59)
            return 0;
        v = v / 100 * 60 + v % 100;
        return west ? -v : v;
    }
    word = take_word(l);
    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++)
        if (slice_eq_nocase(word, slice_str(zones[i].name)))
            return zones[i].hours * 60;
    return 0;
}

bool header_date(struct slice value, int64_t *utc, int *zone_minutes)
{
    struct lex l = lex_of(slice_sub(value, 0, HEADER_LOOK_MAX));
    int64_t days;
    int seconds;

    if (!take_day(&l, &days))
        return false;
    seconds = take_time(&l);
    *zone_minutes = take_zone(&l);
    *utc = days * 86400 + seconds - (int64_t)*zone_minutes * 60;
    return true;
}

void header_date_format(struct buf *out, int64_t utc, int zone_minutes)
{
    int zone = zone_minutes < -ZONE_MAX ? -ZONE_MAX : zone_minutes > ZONE_MAX ? ZONE_MAX : zone_minutes;
    int64_t local = utc < YEAR_FIRST ? YEAR_FIRST : utc > YEAR_LAST ? YEAR_LAST : utc;
    int64_t days, second, year, month, day;
    int away = zone < 0 ? -zone : zone;

    local += (int64_t)zone * 60;
    local = local < YEAR_FIRST ? YEAR_FIRST : local > YEAR_LAST ? YEAR_LAST : local;
    days = local / 86400;
    second = local % 86400;
    if (second < 0) {
        second += 86400;
        days--;
    }
    /* by 365.2425 days a year, with room for leap days and for division towards zero: never too far */
    year = 1970 + (days * 400) / 146097 - 2;
    year = year < 1 ? 1 : year;
    while (year < 9999 && days_of(year + 1, 1, 1) <= days)
        year++;
    for (month = 1; month < 12 && days_of(year, month + 1, 1) <= days; month++)
        ;
    day = days - days_of(year, month, 1) + 1;
    buf_printf(out, "%s, %d %s %04d %02d:%02d:%02d %c%02d%02d", weekdays[(days % 7 + 7) % 7], (int)day,
        months[month - 1], (int)year, (int)(second / 3600), (int)(second / 60 % 60), (int)(second % 60),
        zone < 0 ? '-' : '+', away / 60, away % 60);
}
