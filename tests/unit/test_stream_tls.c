int tls_tests_run(void);
int tls_tests_run(void) { return 0; }
