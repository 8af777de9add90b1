// Options as text: what is taken is what stands there, and what passes validation can be used.
#include "regroup/options.h"

#include <catch2/catch.hpp>

using namespace regroup;

namespace {

Options usable() {
  Options o;
  o.rank = 0;
  o.world_size = 1;
  return o;
}

}  // namespace

TEST_CASE("a size takes k, M and G, and is refused where it does not fit 64 bits") {
  Options o;
  REQUIRE(o.set("staging_bytes", "64M").ok());
  CHECK(o.staging_bytes == 64u << 20);
  REQUIRE(o.set("staging_bytes", "17179869183G").ok());
  CHECK(o.staging_bytes == 17179869183ull << 30);
  for (const char* text : {"17179869184G", "18446744073709551616", "", "M", "-1", "1.5G", "1MM"})
    CHECK(o.set("staging_bytes", text).code() == Code::kConfig);
}

TEST_CASE("a timeout that no Duration holds is refused") {
  CHECK(usable().validate().ok());
  for (const char* text : {"inf", "nan", "1e300", "0", "-1", "1.1e9"}) {
    Options o = usable();
    REQUIRE(o.set("wait_timeout_s", text).ok());
    CHECK(o.validate().code() == Code::kConfig);
  }
}

TEST_CASE("an unknown option is named") {
  Options o;
  CHECK(o.set("windows", "8").error().detail.find("windows") != std::string::npos);
}
