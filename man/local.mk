# man/: pages that belong to no single folder; the others are named in their folder's local.mk.
# Tables in them are the code's: man/tables.py writes them, `make lint-fast` checks.
dist_man_MANS += man/postamtd.8 man/postamt-authd.8 man/postamt-maildir.5 man/postamt-ipc.7 man/postamt-log.7 \
	man/postamt-sandbox.7
EXTRA_DIST += man/tables.py
