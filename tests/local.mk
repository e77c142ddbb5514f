# tests/: what is tried with whole programs; unit tests are in their folders' local.mk

TEST_EXTENSIONS = .py
PY_LOG_COMPILER = python3
# not empty: roles have no system call filter (common/sandbox.c), tests do not look for it
if WITH_SANITIZERS
SANITIZED = yes
else
SANITIZED =
endif
AM_TESTS_ENVIRONMENT = POSTAMT_BUILD=$(abs_top_builddir) PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$(abs_top_srcdir)/tests/lib \
	FAULT_SECONDS=10 POSTAMT_SANITIZED=$(SANITIZED) ASAN_OPTIONS=detect_leaks=1:symbolize=1 \
	LSAN_OPTIONS=suppressions=$(abs_top_srcdir)/tests/lib/lsan.supp:print_suppressions=0; \
	export POSTAMT_BUILD PYTHONDONTWRITEBYTECODE PYTHONPATH FAULT_SECONDS POSTAMT_SANITIZED ASAN_OPTIONS LSAN_OPTIONS;

# Where daemons cannot be started: make check E2E_TESTS= (distcheck takes it too)
E2E_TESTS =
E2E_TESTS += tests/e2e/harness.py
E2E_TESTS += tests/e2e/transcripts.py
E2E_TESTS += tests/e2e/sandboxed.py
E2E_TESTS += tests/e2e/cli.py
E2E_TESTS += tests/e2e/queue_cli.py
E2E_TESTS += tests/e2e/dkim_verify.py
E2E_TESTS += tests/e2e/dns.py
E2E_TESTS += tests/e2e/install.py
E2E_TESTS += tests/e2e/root.py
E2E_TESTS += tests/e2e/send.py
E2E_TESTS += tests/e2e/sender.py
E2E_TESTS += tests/e2e/fetchd.py
E2E_TESTS += tests/e2e/read.py
E2E_TESTS += tests/e2e/cache.py
E2E_TESTS += tests/e2e/mbsync.py
E2E_TESTS += tests/e2e/takeover.py
E2E_TESTS += tests/e2e/postboxes.py
E2E_TESTS += tests/e2e/fetchmail.py
E2E_TESTS += tests/e2e/mutt.py
E2E_TESTS += tests/e2e/idle.py
E2E_TESTS += tests/e2e/lifecycle.py
E2E_TESTS += tests/e2e/quota.py
E2E_TESTS += tests/e2e/expunged.py
E2E_TESTS += tests/e2e/append_big.py
E2E_TESTS += tests/e2e/derived.py
E2E_TESTS += tests/e2e/attack_login.py
E2E_TESTS += tests/e2e/attack_flood.py
E2E_TESTS += tests/e2e/attack_slow.py
E2E_TESTS += tests/e2e/attack_local.py
E2E_TESTS += tests/e2e/attack_limits.py
E2E_TESTS += tests/e2e/relay.py
E2E_TESTS += tests/e2e/outcomes.py
E2E_TESTS += tests/e2e/tlspaths.py
E2E_TESTS += tests/e2e/routes.py
E2E_TESTS += tests/e2e/slowpoke.py
E2E_TESTS += tests/faults/kill_ledger.py
E2E_TESTS += tests/faults/syscalls.py
E2E_TESTS += tests/faults/queue_calls.py
E2E_TESTS += tests/faults/queue_state.py
E2E_TESTS += tests/faults/full_disk.py
TESTS += $(E2E_TESTS)
# no daemons: the library itself
TESTS += tests/property/model.py
# Whole folders, without what a run leaves there: dist-hook puts them into the tarball.
DIST_FOLDERS = tests/e2e tests/faults tests/fuzz tests/lib tests/lint tests/property tests/transcripts

# Everything CI runs: units, dialogues, clients, the quick part of lint. Closes with one line that counts.
check-all: lint-fast
	@$(MAKE) $(AM_MAKEFLAGS) check >check.log 2>&1; rc=$$?; \
	grep -E '^(PASS|FAIL|ERROR|SKIP|XFAIL|XPASS):' check.log; \
	if [ $$rc != 0 ]; then tail -n 40 check.log; for t in $$(sed -n 's/^\(FAIL\|ERROR\): //p' check.log); do \
	echo "== $$t"; tail -n 60 "$${t%.py}.log"; done; fi; \
	echo "$$(grep -c '^PASS:' check.log) passed, $$(grep -cE '^(FAIL|ERROR):' check.log) failed, $$(grep -c '^SKIP:' check.log) skipped"; \
	exit $$rc

# Ours, in a checkout and in an unpacked tarball alike.
C_FILES = find common mail auth store queue lookup session smtpd imapd pop3d admin master tests -name '*.[ch]' | sort

lint-fast:
	python3 $(top_srcdir)/tests/lint/floors.py $(top_srcdir)
	python3 $(top_srcdir)/tests/lint/rules.py $(top_srcdir)
	python3 $(top_srcdir)/man/tables.py --check $(top_srcdir)
	cd $(top_srcdir)/man && for page in *.[1-8]; do mandoc -T lint -W warning $$page || exit 1; done
	cd $(top_srcdir) && clang-format --dry-run -Werror $$($(C_FILES))

CPPCHECK = cppcheck -q --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
	--suppressions-list=tests/lint/cppcheck.supp --include=tests/lint/cppcheck.h -I. -I$(abs_top_builddir) -D_GNU_SOURCE \
	-DHAVE_SYSTEMD=1 -D__cppcheck__=1

lint: lint-fast lint-cppcheck lint-tidy

lint-cppcheck:
	cd $(top_srcdir) && $(CPPCHECK) $$($(C_FILES) | grep '\.c$$' | grep -v ^tests)

# The checks, and why some are left out: .clang-tidy
lint-tidy:
	cd $(top_srcdir) && $(C_FILES) | grep '\.c$$' | grep -v ^tests | xargs -P 2 -n 4 sh -c 'clang-tidy --quiet "$$@" -- \
	$(AM_CPPFLAGS) $(DEFS) -I$(abs_top_builddir) -DPOSTAMT_SASL_PLUGINS=\"$(SASL_LIBDIR)/sasl2\" $(OPENSSL_CFLAGS) $(EVENT_CFLAGS) -std=gnu17 2>&1 | \
	grep -vE "^[0-9]+ warnings? (and [0-9]+ errors? )?generated|^Suppressed|^Use -header-filter" && exit 1; exit 0' tidy

# The whole suite under AddressSanitizer and UndefinedBehaviorSanitizer, in a build folder of its own.
check-sanitizers:
	mkdir -p sanitizers
	cd sanitizers && $(abs_top_srcdir)/configure -q --enable-sanitizers --enable-werror CC='$(CC)'
	$(MAKE) -C sanitizers check

# With the Thunderbird that is installed, headless; takes a minute. Without one it says so and is no failure.
check-thunderbird: all
	$(AM_TESTS_ENVIRONMENT) python3 $(top_srcdir)/tests/e2e/thunderbird.py || test $$? = 77

.PHONY: check-all lint lint-fast lint-cppcheck lint-tidy check-sanitizers check-thunderbird
# Each system call of the ways of a message as the last one and as one that fails; five minutes of kills under load.
faults: all
	$(AM_TESTS_ENVIRONMENT) python3 $(top_srcdir)/tests/faults/syscalls.py --points 0
	$(AM_TESTS_ENVIRONMENT) python3 $(top_srcdir)/tests/faults/queue_calls.py --points 0
	$(AM_TESTS_ENVIRONMENT) python3 $(top_srcdir)/tests/faults/kill_ledger.py 300

# The long forms of the attacks: 1,000 tries a kind, 1 GiB and 2^20 recipients, 5,000 connections, the minutes
# of the slow, 10,000 messages for a dead server.
attacks: all $(check_PROGRAMS)
	if test -x tests/unit/test_login_time; then tests/unit/test_login_time 1000 && tests/unit/test_login_time 1000 yescrypt; fi
	$(AM_TESTS_ENVIRONMENT) for t in "login --long" "flood --long" "slow --long" local limits; do \
	set -- $$t; python3 $(top_srcdir)/tests/e2e/attack_$$1.py $$2 || exit 1; done
	$(AM_TESTS_ENVIRONMENT) python3 $(top_srcdir)/tests/e2e/slowpoke.py --long

# System calls that the sandbox allows and nothing makes (root, strace).
# System calls that the sandbox allows and nothing in the whole suite makes (root, strace); five minutes. syscalls.py and
# queue_calls.py have strace for themselves.
calls: all
	$(AM_TESTS_ENVIRONMENT) python3 $(top_srcdir)/tests/lint/calls.py \
	$(addprefix $(abs_top_srcdir)/,$(filter-out %/syscalls.py %/queue_calls.py,$(E2E_TESTS))); rc=$$?; test $$rc = 0 || test $$rc = 77

# Thousands of stories of the store against its model, 10,000 looks beside a renaming neighbour; about half an hour.
check-long: all
	$(MAKE) $(AM_MAKEFLAGS) tests/property/store_model tests/property/scan_rule tests/property/damage
	$(AM_TESTS_ENVIRONMENT) python3 $(top_srcdir)/tests/property/model.py --long

# The power goes, again and again: ext4, XFS, and clones of a running ext4 (root, loop devices). POWER_SECONDS=60 is the short form.
POWER_SECONDS = 300
power: all
	$(AM_TESTS_ENVIRONMENT) CC='$(CC)' python3 $(top_srcdir)/tests/faults/power.py $(POWER_SECONDS); rc=$$?; test $$rc = 0 || test $$rc = 77

.PHONY: attacks power check-long calls faults
