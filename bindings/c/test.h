/* What the tests of the C interface share. */
#pragma once

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "holdfast/holdfast.h"

extern int failures;
extern const char* folder;
extern const char* relay_url;
extern const char* collector_url;
extern const char* collector_key;

#define CHECK(condition)                                                                       \
  do {                                                                                         \
    if (!(condition)) {                                                                        \
      ++failures;                                                                              \
      fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, hf_error_message()); \
    }                                                                                          \
  } while (0)
#define OK(call) CHECK((call) == HF_OK)
#define HAS(text, part) CHECK((text) != NULL && strstr((text), (part)) != NULL)

extern const uint8_t kRaw[32];

/* The path of a file of this run; good for eight calls. */
const char* in_folder(const char* name);
hf_store* open_store(const char* name);
/* A member of JSON text, as a number or as a text; the text is good for four calls. */
int64_t number_in(const char* json, const char* member);
char* text_in(const char* json, const char* member);
/* Callbacks: into a buffer of 4096, and counting into an int. */
void keep_text(void* user, const char* text);
int keep_code(void* user, const char* code);
int count_text(void* user, const char* text);

void test_store(void);
void test_keys_and_moving(void);
void test_sync(void);
void test_privacy(void);
