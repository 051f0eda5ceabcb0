"""HTML as a tree, so that everything which is text is escaped, whoever wrote it."""

from xml.etree import ElementTree

Element = ElementTree.Element
Content = Element | str | None


def element(tag: str, *content: Content, **attributes: str) -> Element:
  """An element; `class_` gives the attribute `class`, and `None` in the content is left out."""
  made = Element(tag, {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()})
  last = None
  for item in content:
    if isinstance(item, str):
      if last is None:
        made.text = (made.text or "") + item
      else:
        last.tail = (last.tail or "") + item
    elif item is not None:
      made.append(item)
      last = item
  return made


def inline_svg(svg: str, name: str, label: str, ink: str) -> Element:
  """A figure of matplotlib as an element of the page.

  Args:
    svg: the document.
    name: makes its ids different from those of other figures.
    label: what a screen reader says.
    ink: the colour that becomes the page's text colour.
  """
  root = ElementTree.fromstring(svg)
  for node in root.iter():
    node.tag = node.tag.rpartition("}")[2]
    attributes = {key.rpartition("}")[2]: value for key, value in node.attrib.items()}
    if "id" in attributes:
      attributes["id"] = f"{name}-{attributes['id']}"
    if attributes.get("href", "").startswith("#"):
      attributes["href"] = f"#{name}-{attributes['href'][1:]}"
    attributes = {k: v.replace("url(#", f"url(#{name}-").replace(ink, "currentColor") for k, v in attributes.items()}
    node.attrib.clear()
    node.attrib.update(attributes)
  for parent in list(root.iter()):
    for node in [n for n in parent if n.tag in ("metadata", "style")]:
      parent.remove(node)  # its style sheet would hold for the whole page
  for key in ("width", "height", "version"):
    root.attrib.pop(key, None)
  root.attrib.update({"class": "plot", "role": "img", "aria-label": label})
  return root


def document(root: Element) -> str:
  """The text of a whole HTML document."""
  return "<!DOCTYPE html>\n" + ElementTree.tostring(root, encoding="unicode", method="html") + "\n"
