// Placeholder until the tests are written.
int main() { return 0; }
