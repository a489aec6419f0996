#include "holdfast/observers.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

namespace holdfast {
namespace {

TEST(Observers, TellsEachUntilItIsRemoved) {
  Observers<int> observers;
  int first = 0;
  int second = 0;
  int number = observers.add([&](int by) { first += by; });
  observers.add([&](int by) { second += by; });
  observers.tell(2);
  observers.remove(number);
  observers.remove(number);
  observers.tell(3);
  EXPECT_EQ(first, 2);
  EXPECT_EQ(second, 5);
}

TEST(Observers, WhatOneThrowsIsDropped) {
  Observers<> observers;
  int told = 0;
  observers.add([] { throw std::runtime_error("mine"); });
  observers.add([&] { ++told; });
  observers.tell();
  EXPECT_EQ(told, 1);
}

TEST(Observers, AnObserverMayRemoveItself) {
  Observers<> observers;
  int told = 0;
  int number = 0;
  number = observers.add([&] {
    ++told;
    observers.remove(number);
  });
  observers.tell();
  observers.tell();
  EXPECT_EQ(told, 1);
}

TEST(ObserversThread, RemovingWaitsForACallOnAnotherThread) {
  Observers<> observers;
  std::atomic<bool> is_in = false;
  std::atomic<bool> may_go = false;
  std::atomic<bool> is_out = false;
  int number = observers.add([&] {
    is_in = true;
    is_in.notify_all();
    may_go.wait(false);
    is_out = true;
  });
  std::thread teller([&] { observers.tell(); });
  is_in.wait(false);
  std::thread remover([&] {
    observers.remove(number);
    EXPECT_TRUE(is_out);
  });
  may_go = true;
  may_go.notify_all();
  remover.join();
  teller.join();
}

}  // namespace
}  // namespace holdfast
