// What C++ does with the same frames: simdjson (on demand where it has it, DOM otherwise) and two std::map per product.
// usage: limit FRAMES SNAPSHOTS -- prints {"seconds": of the frames after the snapshots, "tops": {...}}
#include <simdjson.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

struct Book {
  std::map<double, double> bids, asks;
};

static double number(std::string_view text) {
  char buffer[64];
  size_t size = text.size() < 63 ? text.size() : 63;
  text.copy(buffer, size);
  buffer[size] = 0;
  return strtod(buffer, nullptr);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  std::vector<simdjson::padded_string> frames;
  std::ifstream file(argv[1]);
  for (std::string line; std::getline(file, line);) frames.emplace_back(line);
  size_t snapshots = std::stoul(argv[2]);
  std::unordered_map<std::string, Book> books;
  simdjson::dom::parser parser(64 << 20);
  auto began = std::chrono::steady_clock::now();
  for (size_t index = 0; index < frames.size(); index++) {
    if (index == snapshots) began = std::chrono::steady_clock::now();
    simdjson::dom::element frame = parser.parse(frames[index]);
    for (simdjson::dom::element event : frame["events"]) {
      Book &book = books[std::string(std::string_view(event["product_id"]))];
      for (simdjson::dom::element level : event["updates"]) {
        auto &side = std::string_view(level["side"])[0] == 'b' ? book.bids : book.asks;
        double price = number(level["price_level"]), size = number(level["new_quantity"]);
        if (size == 0)
          side.erase(price);
        else
          side[price] = size;
      }
    }
  }
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  printf("{\"seconds\": %.9f, \"tops\": {", seconds);
  const char *comma = "";
  for (auto &[product, book] : books) {
    printf("%s\"%s\": [%.17g, %.17g, %zu, %zu]", comma, product.c_str(), book.bids.rbegin()->first,
           book.asks.begin()->first, book.bids.size(), book.asks.size());
    comma = ", ";
  }
  printf("}}\n");
}
