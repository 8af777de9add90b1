// Tables with columns of their own, and what "overlap" means.
#include "bench/own/figures.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <sstream>

#include "bench/own/overlap.h"

using namespace regroup;
using namespace regroup::bench;

namespace {

FigureRow sample() {
  FigureRow r;
  r.row.bytes = 4096;
  r.row.count = 1024;
  r.row.type = "float";
  r.row.redop = "sum";
  r.figures = {{"p50", "us", 1.5}, {"p99.9", "us", 123456.789}};
  r.checked = true;
  r.wrong = 2;
  return r;
}

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word);
  return out;
}

}  // namespace

TEST_CASE("all of the shorter one hidden is 100 percent, nothing 0, below that they cost each other") {
  CHECK(overlap_percent(10, 20, 20) == Approx(100));
  CHECK(overlap_percent(20, 10, 20) == Approx(100));
  CHECK(overlap_percent(10, 20, 30) == Approx(0));
  CHECK(overlap_percent(10, 20, 25) == Approx(50));
  CHECK(overlap_percent(10, 20, 40) == Approx(-100));
  CHECK(overlap_percent(0, 20, 20) == 0);
}

TEST_CASE("a figure has its column, right below its name") {
  const FigureRow r = sample();
  CHECK(words_of(figures_line(r)) ==
        std::vector<std::string>{"4096", "1024", "float", "sum", "-1", "1.50", "123456.8", "2"});
  std::istringstream in(figures_header(r.figures));
  std::string line, names;
  while (std::getline(in, line)) {
    CHECK(line.front() == '#');
    if (line.find("p50") != std::string::npos) names = line;
  }
  CHECK(names.find("p50") + 3 == figures_line(r).find("1.50") + 4);
}

TEST_CASE("an unchecked row says so") {
  FigureRow r = sample();
  r.checked = false;
  CHECK(words_of(figures_line(r)).back() == "N/A");
  const auto json = nlohmann::json::parse(figures_json({}, {}, {r}));
  CHECK(json.at("results").at(0).at("nwrong").is_null());
}

TEST_CASE("figures are in the report with their unit, wrong values fail it") {
  const auto json = nlohmann::json::parse(figures_json({}, {}, {sample()}));
  const auto& row = json.at("results").at(0);
  CHECK(row.at("p50_us") == 1.5);
  CHECK(row.at("p99.9_us") == 123456.789);
  CHECK(row.at("size") == 4096);
  CHECK(json.at("out_of_bounds") == nlohmann::json({{"count", 2}, {"okay", "false"}}));
}
