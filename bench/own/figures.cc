#include "bench/own/figures.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "bench/text.h"

namespace regroup::bench {
namespace {

constexpr int kWidth = 10;

std::string padded(const std::string& text) {
  const std::size_t width = kWidth;
  return text.size() < width ? std::string(width - text.size(), ' ') + text : " " + text;
}

std::uint64_t wrong_of(const std::vector<FigureRow>& rows) {
  std::uint64_t wrong = 0;
  for (const FigureRow& row : rows) wrong += row.wrong;
  return wrong;
}

}  // namespace

std::string figures_header(const std::vector<Figure>& figures) {
  std::string names = "#       size         count      type   redop    root";
  std::string units = "#        (B)    (elements)                          ";
  for (const Figure& figure : figures) {
    names += padded(figure.name);
    units += padded("(" + std::string(figure.unit) + ")");
  }
  return "#\n" + names + "  #wrong\n" + units + "\n";
}

std::string figures_line(const FigureRow& r) {
  char head[128];
  std::snprintf(head, sizeof head, "%12zu  %12zu  %8s  %6s  %6d", r.row.bytes, r.row.count, r.row.type.c_str(),
                r.row.redop.c_str(), r.row.root);
  std::string out = head;
  for (const Figure& figure : r.figures) out += padded(fixed_width(figure.value, kWidth - 2));
  return out + padded(r.checked ? std::to_string(r.wrong) : "N/A").substr(2) + "\n";
}

std::string figures_json(const RunInfo& info, const Arguments& a, const std::vector<FigureRow>& rows) {
  using Json = nlohmann::ordered_json;
  const auto text_of = [](bool value) { return value ? "true" : "false"; };
  Json out;
  out["version"] = 2;
  out["start_time"] = info.start_time;
  out["args"] = info.command;
  out["results"] = Json::array();
  for (const FigureRow& r : rows) {
    Json item;
    item["size"] = r.row.bytes;
    item["count"] = r.row.count;
    item["type"] = r.row.type;
    item["redop"] = r.row.redop;
    item["root"] = std::to_string(r.row.root);
    for (const Figure& figure : r.figures) item[std::string(figure.name) + "_" + figure.unit] = figure.value;
    item["nwrong"] = r.checked ? Json(r.wrong) : Json(nullptr);
    item["experiment_name"] = info.program;
    item["ranks"] = info.ranks;
    item["transport"] = info.transport;
    item["registered"] = text_of(a.registered);
    if (!info.device.empty()) item["device"] = info.device;
    item["probe_us"] = {r.row.probe_before_us, r.row.probe_after_us};
    item["probe"] = probe_state(r.row.probe_before_us, r.row.probe_after_us);
    out["results"].push_back(std::move(item));
  }
  const std::uint64_t wrong = wrong_of(rows);
  out["out_of_bounds"] = {{"count", wrong}, {"okay", text_of(wrong == 0)}};
  out["end_time"] = info.end_time;
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Status write_figures(const RunInfo& info, const Arguments& arguments, const std::vector<FigureRow>& rows) {
  if (arguments.json.empty()) return {};
  auto name = write_new_file(arguments.json, figures_json(info, arguments, rows));
  if (!name.ok()) return name.error();
  std::printf("# Writing JSON output to %s\n", name->c_str());
  return {};
}

}  // namespace regroup::bench
