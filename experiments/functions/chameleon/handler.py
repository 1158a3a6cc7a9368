"""REAP's and FaaSnap's chameleon (FunctionBench): render an HTML table with the template engine
Chameleon. The template is compiled before the first request.

Differs: cells differ by row and column, so that a wrong cell shows."""

from chameleon import PageTemplate

from stasis_digest import digest
from stasis_function import integer, serve, text

TEMPLATE = PageTemplate("""\
<table xmlns="http://www.w3.org/1999/xhtml" xmlns:tal="http://xml.zope.org/namespaces/tal">
<caption tal:content="title">title</caption>
<tr tal:repeat="row table">
<td tal:repeat="cell row"><span class="cell" tal:attributes="id cell[0]" tal:content="cell[1]" /></td>
</tr>
</table>
""")

TEMPLATE.cook_check()


def handle(request):
    rows = integer(request, "rows", 1, 1000)
    columns = integer(request, "columns", 1, 1000)
    table = [[(f"c{row}-{column}", row * columns + column) for column in range(columns)]
             for row in range(rows)]
    page = TEMPLATE(table=table, title=text(request, "title", 100))
    return {"bytes": len(page.encode()), "sha256": digest(page)}


if __name__ == "__main__":
    serve(handle)
