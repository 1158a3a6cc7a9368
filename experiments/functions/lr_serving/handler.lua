-- lr_serving in Lua: the same model, requests and responses as in handler.py, byte for byte.
package.path = arg[0]:gsub("[^/]*/[^/]*$", "") .. "lib/?.lua;" .. package.path
local json = require("stasis_json")

local texts_max, text_bytes_max = 64, 10000

local function load_model(path)
  local weights = {}
  for line in io.lines(path) do
    local word, weight = line:match("^(%l*)\t([-%d.e]+)$")
    weights[word] = tonumber(weight)
  end
  return weights
end

local function predict(weights, review)
  local score, known = 0.0, 0
  for word in review:lower():gmatch("%l+") do
    local weight = weights[word]
    if weight and word ~= "" then
      score = score + weight
      known = known + 1
    end
  end
  score = weights[""] + score / math.sqrt(math.max(1, known))
  return known, 1.0 / (1.0 + math.exp(-score))
end

local function refusal(request)
  local texts = type(request) == "table" and request.texts
  if type(texts) ~= "table" or #texts < 1 or #texts > texts_max then
    return ("texts: a list of 1 to %d is wanted"):format(texts_max)
  end
  for _, text in ipairs(texts) do
    if type(text) ~= "string" or #text > text_bytes_max then
      return ("texts: each is a string of at most %d bytes"):format(text_bytes_max)
    end
  end
end

local function respond(weights, line)
  local request, reason = json.decode(line)
  reason = reason and "not a request: " .. reason:gsub("^.-:%d+: ", "") or refusal(request)
  if reason then return '{"error":' .. json.quote(reason) .. "}" end
  local results = {}
  for index, text in ipairs(request.texts) do
    local known, probability = predict(weights, text)
    results[index] = ('{"good":"%.6f","known":%d}'):format(probability, known)
  end
  return '{"reviews":[' .. table.concat(results, ",") .. "]}"
end

local weights = load_model(arg[1] .. "/model.tsv")
local path = os.getenv("STASIS_DEVICE") or "/dev/stasis"
local requests, responses = assert(io.open(path, "r")), assert(io.open(path, "w"))
for line in requests:lines() do
  responses:write(respond(weights, line), "\n")
  responses:flush()
end
