/* libsecp256k1 asked line by line: `<key> <message> <signature> <times>`, the first three in hex (32, 32 and 64 bytes).
 * Answers `<verdict> <µs>`: 1 or 0 by BIP-340, and how long one of so many verifications took. */
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

int main(void) {
  secp256k1_context *context = secp256k1_context_create(SECP256K1_CONTEXT_VERIFY);
  char key_hex[65], message_hex[65], signature_hex[129];
  int times;
  while (scanf("%64s %64s %128s %d", key_hex, message_hex, signature_hex, &times) == 4) {
    unsigned char key[32], message[32], signature[64];
    bytes_of(key, key_hex, 32);
    bytes_of(message, message_hex, 32);
    bytes_of(signature, signature_hex, 64);
    int verdict = 0;
    double start_us = now_us();
    for (int i = 0; i < times; i++) {
      secp256k1_xonly_pubkey public_key;
      verdict = secp256k1_xonly_pubkey_parse(context, &public_key, key) &&
                secp256k1_schnorrsig_verify(context, signature, message, 32, &public_key);
    }
    printf("%d %.3f\n", verdict, (now_us() - start_us) / times);
  }
  secp256k1_context_destroy(context);
  return 0;
}
