// What is found at run time: a library that is not there, too old, not whole, silent, or not NCCL is refused by name.
#include <catch2/catch.hpp>

#include "base/clock.h"
#include "tests/transport_nccl/told.h"
#include "transport/nccl/api.h"

using namespace regroup;
using regroup::testing::Told;

namespace {

std::string refusal(const Result<nccl::LibraryPtr>& loaded) {
  REQUIRE(loaded.code() == Code::kUnsupported);
  return loaded.error().detail;
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a library of a version that is new enough is taken, whether or not it can revoke") {
  Told told(NCCL_STAND_IN);
  const Result<nccl::LibraryPtr> whole = nccl::load(told.file());
  REQUIRE(whole.ok());
  CHECK((*whole)->version == 22902);
  CHECK(has((*whole)->name, "NCCL 2.29.2 ("));
  CHECK((*whole)->call.CommRevoke != nullptr);
  CHECK((*whole)->takes_host);
  Told old(NCCL_STAND_IN_227, "version=22703");
  const Result<nccl::LibraryPtr> without = nccl::load(old.file());
  REQUIRE(without.ok());
  CHECK((*without)->call.CommRevoke == nullptr);
}

TEST_CASE("a library that is not there is named, with the option that names another") {
  const std::string why = refusal(nccl::load("/nowhere/libnccl.so.2"));
  CHECK(has(why, "/nowhere/libnccl.so.2"));
  CHECK(has(why, "REGROUP_NCCL_LIBRARY"));
}

TEST_CASE("a library before 2.27 is refused with its version") {
  Told told(NCCL_STAND_IN, "version=22605");
  CHECK(has(refusal(nccl::load(told.file())), "NCCL 2.26.5 (" + told.file() + ") is too old, 2.27 or newer is needed"));
}

TEST_CASE("a library that lacks a function is refused with its name") {
  CHECK(has(refusal(nccl::load(NCCL_STAND_IN_LACKING)), "has no ncclCommShrink"));
}

TEST_CASE("what is no NCCL is refused") {
  CHECK(has(refusal(nccl::load("libm.so.6")), "libm.so.6 has no ncclGetVersion"));
}

TEST_CASE("a library that does not even tell its version is given up in time") {
  Told told(NCCL_STAND_IN, "version=hang");
  const Instant began = now();
  CHECK(has(refusal(nccl::load(told.file(), Duration::from_ms(200))), "did not tell its version"));
  CHECK(now() - began < Duration::from_s(5));
}
