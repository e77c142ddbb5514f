#include "common/dns.h"
