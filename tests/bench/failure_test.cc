// The script that all ranks of a failure run follow, and the rows made of what they saw.
#include <catch2/catch.hpp>

#include "bench/failure/account.h"

using namespace regroup;
using namespace regroup::bench;

namespace {

Arguments arguments() {
  Arguments a;
  a.ranks = 3;
  a.min_bytes = 1024;
  a.max_bytes = 2048;
  a.step_factor = 2;
  a.iterations = 10;
  a.faults = {{1, 15, false, 0}};
  return a;
}

void write(SideRecord& record, double us, std::uint64_t epoch, std::uint32_t live, std::uint64_t wrong = 0) {
  record.time_us = us;
  record.epoch = epoch;
  record.live = live;
  record.wrong = wrong;
  record.done.store(1);
}

struct Seen {
  Arguments a = arguments();
  const Collective& collective = *find_collective("all_reduce");
  Script script{collective, a};
  BoardOwner owner;
  Board& board = *owner.get();
  Row row(std::size_t index) const { return account_row(collective, a, script, board, index); }
};

}  // namespace

TEST_CASE("positions run through rows, sides and iterations") {
  const Arguments a = arguments();
  const Script script(*find_collective("all_reduce"), a);
  CHECK(script.total() == 40);
  CHECK(script.sides() == 4);
  CHECK(script.at(0).row == 0);
  CHECK_FALSE(script.at(9).in_place);
  CHECK(script.at(9).last);
  CHECK(script.at(10).in_place);
  CHECK(script.at(10).side == 1);
  CHECK_FALSE(script.at(10).last);
  CHECK(script.at(39).row == 1);
  CHECK(script.at(39).side == script.side_of(1, true));
  CHECK(script.end_of(0) == 20);
}

TEST_CASE("a script of one side a row has in-place calls only") {
  Arguments a = arguments();
  a.in_place_only = true;
  const Script script(*find_collective("all_reduce"), a);
  CHECK(script.total() == 20);
  CHECK(script.at(0).in_place);
  CHECK(script.at(10).row == 1);
  CHECK(script.side_of(1, true) == 1);
  CHECK(script.side_of(1, false) == script.sides());
  a.in_place_only = false;
  a.out_of_place_only = true;
  const Script other(*find_collective("all_reduce"), a);
  CHECK_FALSE(other.at(0).in_place);
  CHECK(other.side_of(1, false) == 1);
  CHECK(other.side_of(1, true) == other.sides());
}

TEST_CASE("a row is what the ranks that finished it saw, live and epoch as of its end") {
  Seen seen;
  for (int r = 0; r < 3; ++r) write(seen.board.ranks[r].sides[0], 10 + r, 1, 3);
  write(seen.board.ranks[0].sides[1], 20, 2, 2, 5);  // rank 1 has died in it
  write(seen.board.ranks[2].sides[1], 40, 2, 2);
  seen.board.fault_ns[0].store(1'000'000'000);
  seen.board.ranks[0].recovered_ns[0].store(1'004'000'000);
  const Row before = seen.row(0);
  CHECK(before.churn->recover_ms < 0);  // one survivor has not committed yet
  seen.board.ranks[2].recovered_ns[0].store(1'007'000'000);
  const Row row = seen.row(0);
  CHECK(row.out_of_place.time_us.median == 11);
  CHECK(row.out_of_place.bus_bw == Approx(row.out_of_place.alg_bw * 4 / 3));
  CHECK(row.in_place.time_us.median == 30);
  CHECK(row.in_place.bus_bw == Approx(row.in_place.alg_bw));  // of two members
  CHECK(row.in_place.wrong == 5);
  CHECK(row.churn->live == 2);
  CHECK(row.churn->epoch == 2);
  CHECK(row.churn->recover_ms == Approx(7));
}

TEST_CASE("a row without a fault has no recovery time, and one that nobody finished has no sides") {
  Seen seen;
  const Row row = seen.row(1);
  CHECK(row.churn->recover_ms < 0);
  CHECK(row.out_of_place.time_us.count == 0);
  CHECK(recovery_ms(seen.a, seen.board, 0) < 0);
}

TEST_CASE("the extra columns stand behind those of nccl-tests") {
  Row row;
  row.churn.emplace();
  row.churn->live = 3;
  row.churn->epoch = 2;
  row.churn->recover_ms = 12.345;
  const std::string text = table_row(row);
  Row plain;
  const std::string usual = table_row(plain);
  CHECK(text.find(usual.substr(0, usual.size() - 1)) == 0);
  CHECK(text.substr(usual.size() - 1) == "      3      2      12.35\n");
  row.churn->recover_ms = -1;
  CHECK(table_row(row).substr(usual.size() - 1) == "      3      2        N/A\n");
  CHECK(table_header(true).find("#wrong   live  epoch  t_recover\n") != std::string::npos);
  CHECK(table_header().find("live") == std::string::npos);
}
