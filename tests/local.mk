# tests/: what is tried with whole programs; unit tests are in their folders' local.mk

TEST_EXTENSIONS = .py
PY_LOG_COMPILER = python3
AM_TESTS_ENVIRONMENT = POSTAMT_BUILD=$(abs_top_builddir) PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$(abs_top_srcdir)/tests/lib \
	ASAN_OPTIONS=detect_leaks=0; export POSTAMT_BUILD PYTHONDONTWRITEBYTECODE PYTHONPATH ASAN_OPTIONS;

E2E_TESTS = tests/e2e/transcripts.py tests/e2e/send.py tests/e2e/read.py
TESTS += $(E2E_TESTS)
EXTRA_DIST += $(E2E_TESTS) tests/lib/instance.py tests/lib/office.py tests/lib/demo.py tests/lib/transcript.py tests/lint/floors.py tests/lint/rules.py

# Everything CI runs: units, dialogues, clients, the quick part of lint. Closes with one line that counts.
check-all: lint-fast
	@$(MAKE) $(AM_MAKEFLAGS) check >check.log 2>&1; rc=$$?; \
	grep -E '^(PASS|FAIL|ERROR|SKIP|XFAIL|XPASS):' check.log; \
	if [ $$rc != 0 ]; then tail -n 40 check.log; for t in $$(sed -n 's/^\(FAIL\|ERROR\): //p' check.log); do \
	echo "== $$t"; tail -n 60 "$${t%.py}.log"; done; fi; \
	echo "$$(grep -c '^PASS:' check.log) passed, $$(grep -cE '^(FAIL|ERROR):' check.log) failed, $$(grep -c '^SKIP:' check.log) skipped"; \
	exit $$rc

lint-fast:
	python3 $(top_srcdir)/tests/lint/floors.py $(top_srcdir)
	python3 $(top_srcdir)/tests/lint/rules.py $(top_srcdir)
	cd $(top_srcdir) && clang-format --dry-run -Werror $$(git ls-files '*.c' '*.h')

lint: lint-fast
	cd $(top_srcdir) && cppcheck -q --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
	--suppress=missingIncludeSystem -I. -I$(abs_top_builddir) -D_GNU_SOURCE -DHAVE_SYSTEMD=1 $$(git ls-files '*.c' | grep -v ^tests)
	cd $(top_srcdir) && clang-tidy --quiet $$(git ls-files '*.c' | grep -v ^tests) -- $(AM_CPPFLAGS) $(DEFS) -I$(abs_top_builddir) $(AM_CFLAGS)

# The whole suite under AddressSanitizer and UndefinedBehaviorSanitizer, in a build folder of its own.
check-sanitizers:
	mkdir -p sanitizers
	cd sanitizers && $(abs_top_srcdir)/configure -q --enable-sanitizers --enable-werror CC='$(CC)'
	$(MAKE) -C sanitizers check

.PHONY: check-all lint lint-fast check-sanitizers
