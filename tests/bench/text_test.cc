// Sizes, numbers, statistics and the table as text.
#include "bench/text.h"

#include <catch2/catch.hpp>
#include <sstream>

#include "bench/stats.h"
#include "bench/table.h"

using namespace regroup;
using namespace regroup::bench;

TEST_CASE("sizes are read with powers of 1024") {
  CHECK(*parse_bytes("4") == 4);
  CHECK(*parse_bytes("64K") == 65536);
  CHECK(*parse_bytes("64k") == 65536);
  CHECK(*parse_bytes("16M") == 16u << 20);
  CHECK(*parse_bytes("16MiB") == 16u << 20);
  CHECK(*parse_bytes("1.5M") == 3u << 19);
  CHECK(*parse_bytes("1G") == 1u << 30);
  CHECK(*parse_bytes("0") == 0);
  CHECK(*parse_bytes("100B") == 100);
}

TEST_CASE("a size that is none is refused and named") {
  for (const char* text :
       {"", "M", "-1", "16Q", "16MX", "4 K", "1.3", "nan", "inf", "1e3", "9999999G", "0x10", "BB", "4BB"}) {
    auto bytes = parse_bytes(text);
    INFO(text);
    REQUIRE_FALSE(bytes.ok());
    CHECK(bytes.code() == Code::kInvalid);
    CHECK(bytes.error().detail.find(std::string("'") + text + "'") != std::string::npos);
  }
}

TEST_CASE("sizes are shown in the largest unit that is exact") {
  CHECK(format_bytes(0) == "0 B");
  CHECK(format_bytes(4) == "4 B");
  CHECK(format_bytes(65536) == "64 KiB");
  CHECK(format_bytes(65537) == "65537 B");
  CHECK(format_bytes(64u << 20) == "64 MiB");
  CHECK(format_bytes(2048ull << 30) == "2048 GiB");
}

TEST_CASE("a number never outgrows its column") {
  CHECK(fixed_width(9.574, 7) == "   9.57");
  CHECK(fixed_width(9999.99, 7) == "9999.99");
  CHECK(fixed_width(10000.04, 7) == "10000.0");
  CHECK(fixed_width(1234567.8, 7) == "1234568");
  CHECK(fixed_width(123456789.0, 7) == "1.2e+08");
}

TEST_CASE("statistics are those of the sorted values") {
  const Summary s = summarize({5, 1, 4, 2, 3});
  CHECK(s.count == 5);
  CHECK(s.min == 1);
  CHECK(s.median == 3);
  CHECK(s.max == 5);
  CHECK(s.mean == 3);
  CHECK(summarize({4, 1, 2, 3}).median == 2.5);
  CHECK(summarize({}).count == 0);
  CHECK(summarize({7}).p99 == 7);
}

TEST_CASE("a percentile is a value that occurred, by nearest rank") {
  std::vector<double> values;
  for (int i = 200; i >= 1; --i) values.push_back(i);
  CHECK(percentile(values, 50) == 100);
  CHECK(percentile(values, 99) == 198);
  CHECK(percentile(values, 100) == 200);
  CHECK(percentile(values, 0) == 1);
  CHECK(percentile({}, 50) == 0);
  CHECK(summarize(values).p99 == 198);
}

TEST_CASE("bandwidths are bytes by time and the bus factor") {
  const Side side = make_side(summarize({1000, 2000, 3000}), 64u << 20, 1.5);
  CHECK(side.alg_bw == Approx(33.554432));
  CHECK(side.bus_bw == Approx(50.331648));
  CHECK(make_side({}, 4, 1).alg_bw == 0);
}

TEST_CASE("a row has the columns of nccl-tests") {
  Row row;
  row.bytes = 1u << 20;
  row.count = 1u << 18;
  row.type = "float";
  row.redop = "sum";
  row.out_of_place = make_side(summarize({100}), row.bytes, 1);
  row.out_of_place.checked = true;
  row.in_place = make_side(summarize({12345.6}), row.bytes, 1);
  CHECK(table_row(row) ==
        "     1048576        262144     float     sum      -1   100.00   10.49   10.49       0  12345.6    0.08    "
        "0.08     N/A\n");
  // Scripts split at blanks.
  std::istringstream in(table_row(row));
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  CHECK(words.size() == 13);
}

TEST_CASE("the header is comments and the footer says whether values were wrong") {
  std::istringstream in(table_header());
  for (std::string line; std::getline(in, line);) CHECK(line.front() == '#');
  CHECK(table_footer(0, 12.5).find("# Out of bounds values : 0 OK\n# Avg bus bandwidth    : 12.5 \n") == 0);
  CHECK(table_footer(3, 0).find("# Out of bounds values : 3 FAILED\n") == 0);
}

TEST_CASE("two probes that disagree are no state") {
  CHECK(probe_state(0.07, 0.08) == "near");
  CHECK(probe_state(0.27, 0.30) == "far");
  CHECK(probe_state(0.07, 0.27) == "mixed");
  CHECK(probe_state(0.14, 0.14) == "mixed");
}
