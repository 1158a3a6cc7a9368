-- As much JSON as the functions in Lua need: decode() of a whole text, quote() of a string.
local json = {}

local escapes = {
  b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/",
}
local depth_max = 32

local decode_value

local function skip(text, at)
  return text:find("[^ \t\r\n]", at) or #text + 1
end

-- One \u escape, with the second half of a surrogate pair if there is one.
local function decode_unicode(text, at)
  local code = tonumber(text:match("^%x%x%x%x", at) or error("bad \\u"), 16)
  if code < 0xD800 or code > 0xDFFF then return utf8.char(code), at + 4 end
  local low = tonumber(text:match("^\\u(%x%x%x%x)", at + 4) or error("half a surrogate pair"), 16)
  if code > 0xDBFF or low < 0xDC00 or low > 0xDFFF then error("half a surrogate pair") end
  return utf8.char(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)), at + 10
end

local function decode_string(text, at)
  local parts = {}
  while true do
    local stop = text:find('["\\%c]', at) or error("a string has no end")
    parts[#parts + 1] = text:sub(at, stop - 1)
    local found = text:sub(stop, stop)
    if found == '"' then return table.concat(parts), stop + 1 end
    if found ~= "\\" then error("a control character in a string") end
    local kind = text:sub(stop + 1, stop + 1)
    if kind == "u" then
      parts[#parts + 1], at = decode_unicode(text, stop + 2)
    else
      parts[#parts + 1], at = escapes[kind] or error("bad escape"), stop + 2
    end
  end
end

-- The members between the brackets; each(at) decodes one and returns where it ends.
local function decode_members(text, at, closing, each)
  at = skip(text, at)
  if text:sub(at, at) == closing then return at + 1 end
  while true do
    at = skip(text, each(skip(text, at)))
    local found = text:sub(at, at)
    if found == closing then return at + 1 end
    if found ~= "," then error("want , or " .. closing) end
    at = at + 1
  end
end

local function decode_object(text, at, depth)
  local object = {}
  local stop = decode_members(text, at, "}", function(from)
    if text:sub(from, from) ~= '"' then error("want a name") end
    local name, after = decode_string(text, from + 1)
    after = skip(text, after)
    if text:sub(after, after) ~= ":" then error("want :") end
    object[name], after = decode_value(text, skip(text, after + 1), depth)
    return after
  end)
  return object, stop
end

local function decode_array(text, at, depth)
  local array, count = {}, 0
  local stop = decode_members(text, at, "]", function(from)
    count = count + 1
    local value, after = decode_value(text, from, depth)
    array[count] = value
    return after
  end)
  return array, stop
end

local words = { { "true", true }, { "false", false }, { "null", nil } }

function decode_value(text, at, depth)
  if depth > depth_max then error("too deep") end
  local first = text:sub(at, at)
  if first == '"' then return decode_string(text, at + 1) end
  if first == "{" then return decode_object(text, at + 1, depth + 1) end
  if first == "[" then return decode_array(text, at + 1, depth + 1) end
  for _, word in ipairs(words) do
    if text:sub(at, at + #word[1] - 1) == word[1] then return word[2], at + #word[1] end
  end
  local number = text:match("^-?%d+%.?%d*[eE]?[+-]?%d*", at)
  local value = number and tonumber(number)
  if value == nil then error("not a value") end
  return value, at + #number
end

-- The value of a JSON text (null: nil), or nil and why not.
function json.decode(text)
  if not utf8.len(text) then return nil, "not UTF-8" end
  local well, value, stop = pcall(function() return decode_value(text, skip(text, 1), 0) end)
  if not well then return nil, tostring(value) end
  if skip(text, stop) <= #text then return nil, "more than one value" end
  return value
end

function json.quote(text)
  return '"' .. text:gsub('[%c"\\]', function(char)
    if char == '"' or char == "\\" then return "\\" .. char end
    return string.format("\\u%04x", char:byte())
  end) .. '"'
end

return json
