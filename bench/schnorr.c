/* Prints the microseconds that libsecp256k1 takes for one BIP-340 verification:
 * verify <key> <message> <signature> <calls>, the first three in hex. Exit code 1: it does not verify. */
#include <secp256k1_schnorrsig.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void bytes_of(unsigned char *bytes, const char *hex, int count) {
  for (int i = 0; i < count; i++) {
    unsigned int value = 0;
    if (sscanf(hex + 2 * i, "%2x", &value) != 1) exit(2);
    bytes[i] = (unsigned char)value;
  }
}

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int verify_all(const secp256k1_context *context, char **argv, int calls) {
  unsigned char key[32], message[32], signature[64];
  bytes_of(key, argv[1], 32);
  bytes_of(message, argv[2], 32);
  bytes_of(signature, argv[3], 64);
  for (int i = 0; i < calls; i++) {
    secp256k1_xonly_pubkey public_key;
    if (!secp256k1_xonly_pubkey_parse(context, &public_key, key)) return 0;
    if (!secp256k1_schnorrsig_verify(context, signature, message, 32, &public_key)) return 0;
  }
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  int calls = atoi(argv[4]);
  secp256k1_context *context = secp256k1_context_create(SECP256K1_CONTEXT_VERIFY);
  if (!verify_all(context, argv, calls)) return 1; /* warms up */
  double start_us = now_us();
  if (!verify_all(context, argv, calls)) return 1;
  printf("%.3f\n", (now_us() - start_us) / calls);
  secp256k1_context_destroy(context);
  return 0;
}
